package cli

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/daemon"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/systemd"
)

func (a *App) resetCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Remove everything that Boxyard ever made on this machine",
		Long: `Remove everything that Boxyard ever made on this machine: containers, pods,
images, volumes, the cluster's data, networks, settings, links and the unit.
A config.yaml that you wrote stays.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.reset(cmd, yes) },
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *App) reset(cmd *cobra.Command, yes bool) error {
	if err := a.needsRoot(cmd); err != nil {
		return err
	}
	if err := a.confirm(yes); err != nil {
		return err
	}
	ctx := cmd.Context()
	// A daemon that cannot stop by itself is ended by Reset.
	if err := a.stop(ctx, false); err != nil && fault.Code(err) != "not-running" {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fmt.Fprintf(a.Err, "boxyard: stopping was not clean, going on: %v\n", err)
	}
	if err := systemd.Disable(ctx); err != nil {
		return err
	}
	if err := removeLinks(systemLinkDir, a.Layout.BinDir()); err != nil {
		return err
	}
	if err := daemon.Reset(ctx, a.Layout); err != nil {
		return err
	}
	fmt.Fprintln(a.Out, "Everything that Boxyard made on this machine is gone.")
	return nil
}

// confirm asks a person; a script must say --yes.
func (a *App) confirm(yes bool) error {
	if yes {
		return nil
	}
	if !a.Terminal {
		return &fault.Error{
			Code:    "not-confirmed",
			Summary: "reset deletes all containers, images, volumes and the cluster, and nobody is here to ask",
			Hint:    "boxyard reset --yes",
			Exit:    fault.ExitUsage,
		}
	}
	fmt.Fprint(a.Out, "This deletes all of Boxyard's containers, pods, images, volumes and the cluster's data. Go on? [y/N] ")
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return &fault.Error{Code: "not-confirmed", Summary: "nothing was deleted"}
}
