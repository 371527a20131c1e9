package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	pluginmanager "github.com/docker/cli/cli-plugins/manager"
	"github.com/docker/cli/cli-plugins/metadata"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/spf13/cobra"
)

// exitError is an exit code of a command that has already said what was wrong.
type exitError int

func (exitError) Error() string { return "" }

// call is a call of a plugin that comes with docker.
type call struct {
	plugin string   // "buildx"
	args   []string // complete, with docker's own flags and name
	env    []string // KEY=VALUE added to the environment
}

// findPlugin says which of the plugins that come with docker the command is for, if any.
// args are those of all without the global flags before the command.
func findPlugin(all, args []string, opts *cliflags.ClientOptions, cfg *configfile.ConfigFile) (call, bool) {
	if len(args) == 0 {
		return call{}, false
	}
	if args[0] == "buildx" || args[0] == "compose" {
		return call{plugin: args[0], args: all}, true
	}
	forwarded, ok := forwardBuild(args)
	if !ok {
		return call{}, false
	}
	global := all[:len(all)-len(args)]
	c := call{plugin: "buildx", args: slices.Concat(global, forwarded)}
	// `docker build` makes an image here, also when another builder was chosen by
	// `docker buildx use`; not so after `docker buildx install`, which sets the alias.
	if cfg.Aliases["builder"] == "" && !namesBuilder(args) {
		c.env = []string{"BUILDX_BUILDER=" + currentContext(opts, cfg)}
	}
	return c, true
}

// exec replaces this process by the plugin, against the engine that docker was given.
// Upstream starts a child and passes signals on; there is nothing left to do here for that.
func (c call) exec(opts *cliflags.ClientOptions, cfg *configfile.ConfigFile) error {
	if err := UseBoxyard(opts, cfg); err != nil {
		return err
	}
	path := filepath.Join(pluginDir(), metadata.NamePrefix+c.plugin)
	// The variable tells the plugin that docker has called it, and where docker is.
	env := slices.Concat(os.Environ(), c.env, []string{metadata.ReexecEnvvar + "=" + c.args[0]})
	args := slices.Concat([]string{path}, c.args[1:])
	return fmt.Errorf("start %s: %w", path, syscall.Exec(path, args, env))
}

// pluginDir holds the plugins that come with docker, as links.
func pluginDir() string {
	exe, err := os.Executable()
	if err != nil {
		return "" // no such directory: no plugins
	}
	return filepath.Join(filepath.Dir(exe), "cli-plugins")
}

// provider gives the plugin manager a configuration.
type provider struct{ cfg *configfile.ConfigFile }

func (p provider) ConfigFile() *configfile.ConfigFile { return p.cfg }

// WithPlugins is the user's configuration with the plugins that come with docker before
// all others. A copy: commands like `docker login` save the original.
func WithPlugins(p config.Provider) config.Provider {
	cfg := *p.ConfigFile()
	cfg.CLIPluginsExtraDirs = slices.Concat([]string{pluginDir()}, cfg.CLIPluginsExtraDirs)
	return provider{&cfg}
}

// runInstalled runs a plugin that the user has installed. The error is errdefs.IsNotFound where there is none.
func runInstalled(ctx context.Context, dockerCLI *command.DockerCli, root *cobra.Command, name string) error {
	cmd, err := pluginmanager.PluginRunCommand(WithPlugins(dockerCLI), name, root)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start plugin %s: %w", name, err)
	}
	// On a terminal the plugin gets the signal too; a second one does no harm.
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exitError(max(exit.ExitCode(), 1))
	}
	return err
}
