package docker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	pluginmanager "github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli/command"
	"github.com/moby/moby/client/pkg/versions"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// setHelp makes help know plugins, and hide what the engine cannot do.
// It follows setHelpFunc and setupHelpCommand of docker/cli's cmd/docker.
func setHelp(dockerCLI *command.DockerCli, root, help *cobra.Command) {
	// Plugins print their own help: docker help compose, docker compose --help.
	pluginHelp := func(name string) error {
		cmd, err := pluginmanager.PluginRunCommand(WithPlugins(dockerCLI), name, root)
		if err != nil {
			return err
		}
		return cmd.Run()
	}

	original := help.RunE
	help.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			if err := pluginHelp(args[0]); !errdefs.IsNotFound(err) {
				return err
			}
		}
		return original(cmd, args)
	}

	defaultHelp := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if err := pluginmanager.AddPluginCommandStubs(WithPlugins(dockerCLI), cmd.Root()); err != nil {
			cmd.Println(err)
			return
		}
		if err := supported(cmd, dockerCLI); err != nil {
			cmd.Println(err)
			return
		}
		hideUnsupported(cmd, dockerCLI)
		defaultHelp(cmd, args)
	})
}

// engine is what the annotations of commands and flags are about.
type engine interface {
	CurrentVersion() string
	ServerInfo() command.ServerInfo
}

// supported says whether the engine has the command and its flags.
// The engine is asked only where an annotation needs it: asking connects.
func supported(cmd *cobra.Command, e engine) error {
	for c := cmd; c != nil; c = c.Parent() {
		if v, ok := c.Annotations["version"]; ok && versions.LessThan(e.CurrentVersion(), v) {
			return fmt.Errorf("%s requires API version %s, but the Docker daemon API version is %s", cmd.CommandPath(), v, e.CurrentVersion())
		}
		if v, ok := c.Annotations["ostype"]; ok && otherOS(e, v) {
			return fmt.Errorf("%s is only supported on a Docker daemon running on %s, but the Docker daemon is running on %s", cmd.CommandPath(), v, e.ServerInfo().OSType)
		}
	}
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
		if v := annotation(f, "version"); v != "" && versions.LessThan(e.CurrentVersion(), v) {
			errs = append(errs, fmt.Errorf("%q requires API version %s, but the Docker daemon API version is %s", "--"+f.Name, v, e.CurrentVersion()))
		}
		if v := annotation(f, "ostype"); v != "" && otherOS(e, v) {
			errs = append(errs, fmt.Errorf("%q is only supported on a Docker daemon running on %s, but the Docker daemon is running on %s", "--"+f.Name, v, e.ServerInfo().OSType))
		}
	})
	return errors.Join(errs...)
}

func hideUnsupported(cmd *cobra.Command, e engine) {
	hidden := func(annotations map[string][]string) bool {
		get := func(key string) string { return strings.Join(annotations[key], "") }
		if v := get("version"); v != "" && versions.LessThan(e.CurrentVersion(), v) {
			return true
		}
		if v := get("ostype"); v != "" && otherOS(e, v) {
			return true
		}
		status := e.ServerInfo().SwarmStatus
		switch get("swarm") {
		case "manager":
			return status != nil && !status.ControlAvailable
		case "active":
			return status != nil && status.NodeState == "inactive"
		}
		return false
	}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if tops, ok := f.Annotations["top-level"]; ok && cmd.HasParent() && !under(cmd, tops) {
			f.Hidden = true
		}
		f.Hidden = f.Hidden || hidden(f.Annotations)
	})
	for _, sub := range cmd.Commands() {
		annotations := make(map[string][]string, len(sub.Annotations))
		for k, v := range sub.Annotations {
			annotations[k] = []string{v}
		}
		sub.Hidden = sub.Hidden || hidden(annotations)
	}
}

// under says whether cmd or one of its parents is called by one of the names.
func under(cmd *cobra.Command, names []string) bool {
	for c := cmd; c != nil; c = c.Parent() {
		if slices.Contains(names, c.Name()) {
			return true
		}
	}
	return false
}

func annotation(f *pflag.Flag, key string) string {
	if value, ok := f.Annotations[key]; ok && len(value) == 1 {
		return value[0]
	}
	return ""
}

func otherOS(e engine, os string) bool {
	server := e.ServerInfo().OSType
	return server != "" && server != os
}
