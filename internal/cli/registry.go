package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/registry"
)

func (a *App) registryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "A registry on this machine, and caches of other registries",
		Args:  atMost(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.registryOnCommand(), a.registryOffCommand(), a.registryStatusCommand(), a.registryPruneCommand(),
		a.registryAuthorityCommand(), a.registryCacheCommand())
	return cmd
}

func (a *App) registryOnCommand() *cobra.Command {
	var port int
	var tls bool
	var htpasswd string
	cmd := &cobra.Command{
		Use:   "on",
		Short: "Serve a registry on loopback, now and after each start",
		Long: `Serve a registry on loopback, now and after each start. What a flag does not name stays as it was the
last time.`,
		Args: atMost(0),
	}
	cmd.Flags().IntVar(&port, "port", registry.DefaultPort, "TCP port")
	cmd.Flags().BoolVar(&tls, "tls", false, "serve HTTPS; `boxyard registry ca` prints the authority")
	cmd.Flags().StringVar(&htpasswd, "htpasswd", "", "ask for the passwords in this file (htpasswd -B); \"\" asks nobody")
	return runWithOutput(cmd, func(cmd *cobra.Command, _ []string, asJSON bool) error {
		on := true
		change := registry.Change{On: &on}
		if cmd.Flags().Changed("port") {
			change.Port = &port
		}
		if cmd.Flags().Changed("tls") {
			change.TLS = &tls
		}
		if cmd.Flags().Changed("htpasswd") {
			text, err := readHtpasswd(htpasswd)
			if err != nil {
				return err
			}
			change.Htpasswd = &text
		}
		return a.changeRegistry(cmd.Context(), change, asJSON)
	})
}

func readHtpasswd(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", &fault.Error{Code: "registry-invalid", Summary: "the password file cannot be read", Hint: "make one with: htpasswd -nB NAME", Cause: err}
	}
	return string(data), nil
}

func (a *App) registryOffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "off",
		Short: "Serve no registry any more; what is in it, and caches, stay",
		Args:  atMost(0),
	}
	return runWithOutput(cmd, func(cmd *cobra.Command, _ []string, asJSON bool) error {
		off := false
		return a.changeRegistry(cmd.Context(), registry.Change{On: &off}, asJSON)
	})
}

func (a *App) registryStatusCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Short: "Where it is, what it has, and which caches there are", Args: atMost(0)}
	return runWithOutput(cmd, func(cmd *cobra.Command, _ []string, asJSON bool) error {
		return a.changeRegistry(cmd.Context(), registry.Change{}, asJSON)
	})
}

func (a *App) registryPruneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Free what no tag leads to; the registry is away meanwhile",
		Args:  atMost(0),
	}
	return runWithOutput(cmd, func(cmd *cobra.Command, _ []string, asJSON bool) error {
		return a.changeRegistry(cmd.Context(), registry.Change{Prune: true}, asJSON)
	})
}

func (a *App) registryAuthorityCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ca",
		Short: "Print the certificate of the authority that signed the registry's",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := a.client().Registry(cmd.Context(), registry.Change{})
			if err != nil {
				return err
			}
			_, err = io.WriteString(a.Out, state.Authority)
			return err
		},
	}
}

func (a *App) registryCacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Caches of other registries, which all pulls on this machine go through",
		Args:  atMost(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.cacheAddCommand(), a.cacheRemoveCommand())
	return cmd
}

func (a *App) cacheAddCommand() *cobra.Command {
	var cache registry.Cache
	var fromStdin bool
	var size string
	cmd := &cobra.Command{
		Use:   "add REGISTRY",
		Short: "Keep what is pulled from a registry, such as docker.io",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "name one registry, such as docker.io")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&cache.URL, "url", "", "the registry's address, where it is not https://REGISTRY")
	cmd.Flags().StringVar(&cache.Username, "username", "", "the user to ask the registry as")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the user's password from stdin")
	cmd.Flags().StringVar(&size, "max-size", "10GB", "what is kept at most; 0 is no limit")
	return runWithOutput(cmd, func(cmd *cobra.Command, args []string, asJSON bool) error {
		cache.Registry = args[0]
		bytes, err := units.FromHumanSize(size)
		if err != nil {
			return usage(cmd, "the size "+size+" is not one; write it like 10GB")
		}
		cache.MaxBytes = bytes
		if fromStdin {
			line, err := bufio.NewReader(a.In).ReadString('\n')
			if err != nil && err != io.EOF {
				return fmt.Errorf("read the password: %w", err)
			}
			cache.Password = strings.TrimRight(line, "\r\n")
		}
		return a.changeRegistry(cmd.Context(), registry.Change{AddCache: &cache}, asJSON)
	})
}

func (a *App) cacheRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm REGISTRY",
		Short: "Pull from the registry itself again, and remove what was kept",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage(cmd, "name one registry; boxyard registry status lists those with a cache")
			}
			return nil
		},
	}
	return runWithOutput(cmd, func(cmd *cobra.Command, args []string, asJSON bool) error {
		return a.changeRegistry(cmd.Context(), registry.Change{RemoveCache: args[0]}, asJSON)
	})
}

func (a *App) changeRegistry(ctx context.Context, change registry.Change, asJSON bool) error {
	state, err := a.client().Registry(ctx, change)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(state)
	}
	return printRegistry(a.Out, state)
}

func printRegistry(w io.Writer, s registry.State) error {
	switch {
	case !s.On:
		fmt.Fprintf(w, "The registry is off. It has %s. To switch it on: boxyard registry on\n", amount(s.Bytes))
	default:
		how := []string{"without TLS"}
		if s.TLS {
			how[0] = "with TLS"
		}
		if s.Password {
			how = append(how, "with passwords")
		}
		if !s.Ready {
			how = append(how, "not ready yet")
		}
		fmt.Fprintf(w, "The registry is %s (%s). It has %s. For example:\n\n  docker tag hello %s/hello && docker push %s/hello\n",
			s.Address, strings.Join(how, ", "), amount(s.Bytes), s.Address, s.Address)
	}
	if len(s.Caches) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "CACHE OF\tFROM\tAS\tSIZE\tAT MOST")
	for _, c := range s.Caches {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Registry, c.URL, dash(c.Username != "", c.Username), amount(c.Bytes), dash(c.MaxBytes > 0, amount(c.MaxBytes)))
	}
	return t.Flush()
}
