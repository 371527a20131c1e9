package plugin

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/boxyard/boxyard/clients/docker"
	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli-plugins/metadata"
	dockerplugin "github.com/docker/cli/cli-plugins/plugin"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/docker/compose/v5/cmd/cmdtrace"
	"github.com/docker/compose/v5/cmd/compatibility"
	commands "github.com/docker/compose/v5/cmd/compose"
	"github.com/docker/compose/v5/cmd/prompt"
	"github.com/docker/compose/v5/pkg/compose"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// Compose is compose, called by docker as a plugin or by itself. It returns the exit code.
// It follows cmd/main.go of github.com/docker/compose.
func Compose() int {
	if dockerplugin.RunningStandalone() {
		os.Args = append([]string{"docker"}, compatibility.Convert(os.Args[1:])...)
	}
	if err := docker.UseBoxyard(cliflags.NewClientOptions(), config.LoadDefaultConfigFile(os.Stderr)); err != nil {
		return report(err)
	}
	version := moduleVersion("github.com/docker/compose/v5")
	dockerCLI, err := command.NewDockerCli(command.WithUserAgent("compose/" + version))
	if err != nil {
		return report(err)
	}
	return report(dockerplugin.RunPlugin(dockerCLI, composeCommand(dockerCLI), metadata.Metadata{
		SchemaVersion: "0.1.0",
		Vendor:        "Docker Inc.",
		Version:       version,
	}))
}

func composeCommand(dockerCLI *command.DockerCli) *cobra.Command {
	cmd := commands.RootCommand(dockerCLI, &commands.BackendOptions{
		Options: []compose.Option{
			compose.WithPrompt(prompt.NewPrompt(dockerCLI.In(), dockerCLI.Out()).Confirm),
		},
	})
	cmd.AddCommand(commands.HooksCommand())
	preRun := cmd.PersistentPreRunE
	cmd.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		if err := dockerplugin.PersistentPreRunE(cmd, args); err != nil {
			return err
		}
		// Compose builds through the plugin buildx and never saves this configuration.
		dockerCLI.ConfigFile().CLIPluginsExtraDirs = docker.WithPlugins(dockerCLI).ConfigFile().CLIPluginsExtraDirs
		if err := cmdtrace.Setup(cmd, dockerCLI, os.Args[1:]); err != nil {
			logrus.Debugf("tracing is off: %v", err)
		}
		if preRun == nil {
			return nil
		}
		return preRun(cmd, args)
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return cli.StatusError{StatusCode: 1, Status: err.Error()}
	})
	return cmd
}

// report prints err as docker prints a plugin's and returns the exit code.
func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if status, ok := errors.AsType[cli.StatusError](err); ok {
		return max(status.StatusCode, 1)
	}
	return 1
}

// moduleVersion is the version of a module in this executable, as go.mod has it.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, dep := range info.Deps {
		if dep.Path == path {
			return dep.Version
		}
	}
	return ""
}
