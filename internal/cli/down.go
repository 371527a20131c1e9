package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/daemon"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/payload"
)

func (a *App) downCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop Boxyard with its containers and pods",
		Long: `Stop Boxyard with its containers and pods. Deployments, and containers with a
restart policy, come back with the next up.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.down(cmd, keep) },
	}
	cmd.Flags().BoolVar(&keep, "keep-containers", false, "leave containers and pods running for the next up")
	return cmd
}

func (a *App) down(cmd *cobra.Command, keep bool) error {
	err := a.stop(cmd.Context(), keep)
	switch {
	case err == nil && !keep && a.Root:
		// A daemon that was stopped before it had adopted what ran has left it running.
		return a.downLeftovers(cmd.Context(), "")
	case fault.Code(err) != "not-running":
		return err
	}
	if err := a.needsRoot(cmd); err != nil {
		return err
	}
	if keep {
		fmt.Fprintln(a.Out, notRunning)
		return nil
	}
	return a.downLeftovers(cmd.Context(), notRunning)
}

const notRunning = "Boxyard is not running."

// downLeftovers stops what runs without a daemon, after `down --keep-containers` or a crash: a daemon
// is started that adopts it and stops it in order. What is left then is killed. otherwise is printed where there is nothing.
func (a *App) downLeftovers(ctx context.Context, otherwise string) error {
	daemon.AwaitEnd(ctx, a.Layout, 5*time.Second)
	if daemon.Running(a.Layout) {
		return &fault.Error{Code: "daemon-silent", Summary: "the daemon runs and does not answer", Hint: "boxyard logs boxyard; boxyard reset ends it in any case"}
	}
	found, err := daemon.Leftovers(a.Layout)
	if err != nil {
		return err
	}
	if !found {
		if otherwise != "" {
			fmt.Fprintln(a.Out, otherwise)
		}
		return nil
	}
	fmt.Fprintln(a.Out, "Boxyard is not running, but containers or parts of it are: it starts once more to stop them in order.")
	if err := a.adoptAndStop(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fmt.Fprintf(a.Err, "boxyard: that did not work, so they are killed: %v\n", err)
	}
	return daemon.StopLeftovers(ctx, a.Layout)
}

func (a *App) adoptAndStop(ctx context.Context) error {
	s := settings{file: a.Layout.ConfigFile()}
	if _, err := payload.Open(a.Exe); errors.Is(err, payload.ErrNone) {
		s.payloadDir = filepath.Join(a.Layout.PayloadDir(), "current")
	}
	if _, err := a.start(ctx, s); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// The engines are enough: what they do not know yet, they cannot stop. An engine that fails ends the wait too.
	_ = a.client().Events(limited, func(controlapi.Event) bool {
		status, err := a.client().Status(limited)
		return err == nil && !enginesSettled(status)
	})
	return a.stop(ctx, false)
}

func enginesSettled(s controlapi.Status) bool {
	settled := s.Phase == controlapi.PhaseRunning
	for _, c := range s.Components {
		if c.Name == "containerd" || c.Name == "dockerd" {
			settled = settled && (c.State == "ready" || c.State == "failed")
		}
	}
	return settled
}

// stop asks the daemon to stop and shows how it does. It goes on when we are interrupted.
func (a *App) stop(ctx context.Context, keep bool) error {
	if _, err := a.client().Status(ctx); err != nil {
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		_ = a.client().Events(watching, func(e controlapi.Event) bool {
			if e.To == "stopped" {
				fmt.Fprintf(a.Out, "  %-12s stopped\n", e.Component)
			}
			return true
		})
	}()
	err := a.client().Down(ctx, controlapi.DownRequest{KeepContainers: keep})
	if err != nil {
		cancel()
	}
	<-watched
	cancel()
	if err != nil {
		return err
	}
	daemon.AwaitEnd(ctx, a.Layout, 5*time.Second)
	if keep {
		fmt.Fprintln(a.Out, "Boxyard has stopped; containers and pods go on running.")
		return nil
	}
	fmt.Fprintln(a.Out, "Boxyard has stopped.")
	return nil
}

func (a *App) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restart PART",
		Short: "Restart one part; containers and pods go on",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "name one part")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.client().Restart(cmd.Context(), args[0])
		},
	}
}
