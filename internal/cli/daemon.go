package cli

import (
	"errors"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/daemon"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/systemd"
)

// daemonCommand is what `up` and the systemd unit start.
func (a *App) daemonCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:    "daemon",
		Short:  "Be the daemon, in the foreground",
		Hidden: true,
		Args:   atMost(0),
		RunE:   func(cmd *cobra.Command, _ []string) error { return a.daemon(cmd, s) },
	}
	s.register(cmd, a)
	return cmd
}

func (a *App) daemon(cmd *cobra.Command, s settings) error {
	if err := a.needsRoot(cmd); err != nil {
		return err
	}
	log, err := a.openLog()
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	logger := slog.New(slog.NewTextHandler(log, nil))
	c, chosen, err := s.load()
	if err != nil {
		return notStarted(logger, errors.Join(err, daemon.RecordFault(a.Layout, err)))
	}
	return notStarted(logger, daemon.Run(cmd.Context(), daemon.Options{
		Layout: a.Layout, Config: c, Chosen: chosen, PayloadDir: s.payloadDir, Exe: a.Exe, Log: logger,
	}))
}

// notStarted gives a fault the exit code that keeps systemd from trying again: a person must mend it first.
func notStarted(log *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	log.Error("the daemon ends", "error", err)
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	return &fault.Error{Code: f.Code, Summary: err.Error(), Hint: f.Hint, Exit: systemd.ExitNotStarted}
}

// openLog opens the daemon's log file, which also gets the trace of a crash.
func (a *App) openLog() (*os.File, error) {
	if err := os.MkdirAll(a.Layout.Log, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(a.Layout.LogFile("boxyard"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, err
	}
	return f, debug.SetCrashOutput(f, debug.CrashOptions{})
}
