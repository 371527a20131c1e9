package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/daemon"
	"github.com/boxyard/boxyard/internal/fault"
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
	if fault.Code(err) != "not-running" {
		return err
	}
	if err := a.needsRoot(cmd); err != nil {
		return err
	}
	if keep {
		fmt.Fprintln(a.Out, "Boxyard is not running.")
		return nil
	}
	// Containers may run without it, after down --keep-containers or a crash.
	found, err := daemon.StopLeftovers(cmd.Context(), a.Layout)
	if err != nil {
		return err
	}
	if found {
		fmt.Fprintln(a.Out, "Boxyard was not running; what it had left running was stopped.")
		return nil
	}
	fmt.Fprintln(a.Out, "Boxyard is not running.")
	return nil
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
