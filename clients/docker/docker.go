package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli"
	pluginmanager "github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/command/commands"
	"github.com/docker/cli/cli/config"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/docker/cli/cli/version"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// Main is the docker command. It returns the exit code.
func Main() int {
	ctx := notifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx)
	var terminated signalError
	if errors.As(context.Cause(ctx), &terminated) && errors.Is(err, context.Canceled) {
		return terminated.exitCode()
	}
	return report(err)
}

// report prints err as docker does and returns the exit code.
func report(err error) int {
	if err == nil {
		return 0
	}
	if msg := err.Error(); msg != "" && !errdefs.IsCanceled(err) {
		fmt.Fprintln(os.Stderr, msg)
	}
	if terminated, ok := errors.AsType[signalError](err); ok {
		return terminated.exitCode()
	}
	if exit, ok := errors.AsType[exitError](err); ok {
		return int(exit)
	}
	var status cli.StatusError
	if errors.As(err, &status) && status.StatusCode != 0 {
		return status.StatusCode
	}
	return 1
}

func run(ctx context.Context) error {
	dockerCLI, err := command.NewDockerCli(command.WithBaseContext(ctx))
	if err != nil {
		return err
	}
	logrus.SetOutput(dockerCLI.Err())

	root, opts := newCommand(dockerCLI)
	top := cli.NewTopLevelCommand(root, dockerCLI, opts, root.Flags())
	_, args, err := top.HandleGlobalFlags()
	if err != nil {
		return err
	}
	if opts.ConfigDir != "" {
		config.SetDir(opts.ConfigDir)
	}
	cfg := config.LoadDefaultConfigFile(dockerCLI.Err())

	if plugin, ok := findPlugin(os.Args, args, opts, cfg); ok {
		return plugin.exec(opts, cfg)
	}

	if !chosen(opts, cfg) {
		// Not the environment: `docker context use` would say that it overrides the context.
		opts.Hosts = []string{boxyardHost}
	}
	if err := top.Initialize(); err != nil {
		return err
	}
	return execute(ctx, dockerCLI, root, args)
}

// execute runs a command of docker itself, or a plugin that the user has installed.
func execute(ctx context.Context, dockerCLI *command.DockerCli, root *cobra.Command, args []string) error {
	if completes(args) {
		if err := pluginmanager.AddPluginCommandStubs(WithPlugins(dockerCLI), root); err != nil {
			return err
		}
	}
	if showsPlugins(args) {
		// `docker info` lists the plugins and saves no configuration.
		dockerCLI.ConfigFile().CLIPluginsExtraDirs = WithPlugins(dockerCLI).ConfigFile().CLIPluginsExtraDirs
	}
	if len(args) > 0 {
		if _, _, err := root.Find(args); err != nil {
			err := runInstalled(ctx, dockerCLI, root, args[0])
			if !errdefs.IsNotFound(err) {
				return err
			}
		}
	}
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

func newCommand(dockerCLI *command.DockerCli) (*cobra.Command, *cliflags.ClientOptions) {
	root := &cobra.Command{
		Use:              "docker [OPTIONS] COMMAND [ARG...]",
		Short:            "A self-sufficient runtime for containers",
		SilenceUsage:     true,
		SilenceErrors:    true,
		TraverseChildren: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return command.ShowHelp(dockerCLI.Err())(cmd, args)
			}
			return fmt.Errorf("docker: unknown command: docker %s\n\nRun 'docker --help' for more information", args[0])
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return supported(cmd, dockerCLI)
		},
		Version:               fmt.Sprintf("%s, build %s", version.Version, version.GitCommit),
		DisableFlagsInUseLine: true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd:    true,
			DisableDescriptions: os.Getenv("DOCKER_CLI_DISABLE_COMPLETION_DESCRIPTION") != "",
		},
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetIn(dockerCLI.In())
	root.SetOut(dockerCLI.Out())
	root.SetErr(dockerCLI.Err())

	opts, help := cli.SetupRootCommand(root)
	root.Flags().BoolP("version", "v", false, "Print version information and quit")
	setHelp(dockerCLI, root, help)
	commands.AddCommands(root, dockerCLI)
	return root, opts
}

// completes says whether the shell asks for completions.
func completes(args []string) bool {
	for _, arg := range args {
		if arg == cobra.ShellCompRequestCmd || arg == cobra.ShellCompNoDescRequestCmd {
			return true
		}
	}
	return false
}

// showsPlugins says whether the command is `docker info`, which lists the plugins.
func showsPlugins(args []string) bool {
	return len(args) > 0 && args[0] == "info" ||
		len(args) > 1 && args[0] == "system" && args[1] == "info"
}

// signalError is why a context ended that a signal has ended.
type signalError struct{ signal syscall.Signal }

func (signalError) Error() string   { return "" }
func (e signalError) exitCode() int { return 128 + int(e.signal) }

// notifyContext is signal.NotifyContext, with the signal as cause: the exit code is made from it.
// The third signal ends the process at once, in case a command does not follow its context.
func notifyContext(parent context.Context, signals ...os.Signal) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, signals...)
	go func() {
		sig, _ := (<-ch).(syscall.Signal)
		cancel(signalError{sig})
		<-ch
		signal.Reset(signals...)
	}()
	return ctx
}
