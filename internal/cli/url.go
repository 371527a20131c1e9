package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/container"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/reach"
	"github.com/boxyard/boxyard/internal/service"
)

func (a *App) urlCommand() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use:   "url svc/NAME[.NAMESPACE] | CONTAINER",
		Short: "The addresses that reach a Service or a container from this machine now",
		Long: `The addresses that reach a Service or a container from this machine now, one a line, the best for a
program first. A name without svc/ is a container's (its name, or SERVICE.PROJECT of Compose), else a
Service's.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "name one Service, such as svc/web, or one container")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "", "the Service's namespace (default: default)")
	return runWithOutput(cmd, func(cmd *cobra.Command, args []string, asJSON bool) error {
		w, err := wantedOf(cmd, args[0], namespace)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
		defer cancel()
		return a.url(ctx, w, asJSON)
	})
}

// wanted is the thing whose addresses are asked for.
type wanted struct {
	service, namespace string // "": no Service
	container          string // "": no container
}

// wantedOf takes what kubectl takes for a Service. A name alone may be either.
func wantedOf(cmd *cobra.Command, arg, namespace string) (wanted, error) {
	kind, name, found := strings.Cut(arg, "/")
	if !found {
		kind, name = "", arg
	}
	service, in, dotted := strings.Cut(name, ".")
	w := wanted{service: service, namespace: cmp.Or(namespace, in, "default")}
	switch kind {
	case "svc", "service", "services":
	case "container":
		w = wanted{container: name}
	case "":
		if namespace == "" {
			w.container = name
		}
	default:
		name = ""
	}
	if name == "" {
		return wanted{}, usage(cmd, arg+" is neither a Service nor a container; allowed: svc/NAME, container/NAME, NAME")
	}
	if kind != "container" && dotted && namespace != "" && namespace != in {
		return wanted{}, usage(cmd, fmt.Sprintf("%s is in the namespace %s by its name, and in %s by -n", arg, in, namespace))
	}
	return w, nil
}

func (a *App) url(ctx context.Context, w wanted, asJSON bool) error {
	door := a.frontDoorPort(ctx)
	if w.container != "" {
		c, err := container.Lookup(ctx, a.Layout.DockerSocket(), w.container)
		if err == nil {
			found := c.Addresses(door)
			return a.printWays(found, found.Ways, found.Note, asJSON)
		}
		if w.service == "" {
			return err
		}
		found, serviceErr := a.findService(ctx, w, door)
		if serviceErr != nil {
			return moreTelling(err, serviceErr)
		}
		return a.printWays(found, found.Ways, found.Note, asJSON)
	}
	found, err := a.findService(ctx, w, door)
	if err != nil {
		return err
	}
	return a.printWays(found, found.Ways, found.Note, asJSON)
}

// moreTelling is the error about what a name is probably meant to be. With one of the two parts left
// out, it is the other's.
func moreTelling(aboutContainer, aboutService error) error {
	if fault.Code(aboutContainer) == "no-container" && fault.Code(aboutService) == "no-service" {
		return errors.Join(aboutContainer, aboutService)
	}
	if fault.Code(aboutService) == "no-service" {
		return aboutService
	}
	return aboutContainer
}

func (a *App) findService(ctx context.Context, w wanted, door int) (service.Addresses, error) {
	config, err := os.ReadFile(a.Layout.Kubeconfig())
	if err != nil {
		return service.Addresses{}, a.noKubeconfig(err)
	}
	return service.Find(ctx, config, w.namespace, w.service, door)
}

// frontDoorPort is 0 while the front door is closed, or the daemon cannot be asked.
func (a *App) frontDoorPort(ctx context.Context) int {
	status, err := a.client().Status(ctx)
	if err != nil {
		return 0
	}
	return status.FrontDoorPort
}

// printWays prints one address a line, and for people what each leads through.
func (a *App) printWays(all any, ways []reach.Way, note string, asJSON bool) error {
	if asJSON {
		return a.printJSON(all)
	}
	lines := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	seen := map[string]bool{}
	for _, w := range ways {
		switch {
		case seen[w.URL]:
		case a.Terminal:
			fmt.Fprintf(lines, "%s\t%s\n", w.URL, title(w.Kind))
		default:
			fmt.Fprintln(lines, w.URL)
		}
		seen[w.URL] = true
	}
	if err := lines.Flush(); err != nil {
		return err
	}
	for _, w := range ways {
		if w.Host != "" {
			fmt.Fprintf(a.Err, "boxyard: for a client that does not know names under .localhost: http://%s with the header 'Host: %s'\n", w.Address, w.Host)
			break
		}
	}
	if note != "" {
		fmt.Fprintln(a.Err, "boxyard: "+note)
	}
	return nil
}

func title(k reach.Kind) string {
	switch k {
	case reach.FrontDoor:
		return "front door"
	case reach.ClusterIP:
		return "cluster IP"
	case reach.NodePort:
		return "node port"
	case reach.LoadBalancer:
		return "load balancer"
	case reach.ExternalName:
		return "external name"
	case reach.Published:
		return "published port"
	default:
		return string(k)
	}
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
