package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/service"
)

func (a *App) urlCommand() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:   "url svc/NAME",
		Short: "The addresses that reach a Service from this machine now",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "name one Service, such as svc/web")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "default", "the Service's namespace")
	wantJSON := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := wantJSON()
		if err != nil {
			return err
		}
		name, err := serviceName(cmd, args[0])
		if err != nil {
			return err
		}
		return a.url(cmd.Context(), namespace, name, asJSON)
	}
	return cmd
}

// serviceName takes what kubectl takes for a Service.
func serviceName(cmd *cobra.Command, arg string) (string, error) {
	kind, name, found := strings.Cut(arg, "/")
	if !found {
		return arg, nil
	}
	switch kind {
	case "svc", "service", "services":
		if name != "" {
			return name, nil
		}
	}
	return "", usage(cmd, arg+" is not a Service; allowed: svc/NAME")
}

func (a *App) url(ctx context.Context, namespace, name string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	config, err := os.ReadFile(a.Layout.Kubeconfig())
	if err != nil {
		return a.noKubeconfig(err)
	}
	found, err := service.Find(ctx, config, namespace, name)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(found)
	}
	for _, u := range found.URLs {
		fmt.Fprintln(a.Out, u)
	}
	if found.Note != "" {
		fmt.Fprintln(a.Err, "boxyard: "+found.Note)
	}
	return nil
}

func (a *App) noKubeconfig(err error) error {
	if os.IsPermission(err) {
		return &fault.Error{
			Code: "needs-root", Summary: "no permission to read " + a.Layout.Kubeconfig(),
			Hint: "run it with sudo, or once `sudo boxyard up` as this user, which gives this user access", Exit: fault.ExitNeedsRoot,
		}
	}
	if os.IsNotExist(err) {
		return &fault.Error{Code: "not-running", Summary: "there is no cluster on this machine", Hint: "sudo boxyard up", Exit: fault.ExitNotRunning}
	}
	return err
}
