package docker

import (
	"os"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config/configfile"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/moby/moby/client"
)

// boxyardHost is the engine to talk to when the user chose none.
const boxyardHost = "unix:///run/boxyard/docker.sock"

// chosen says whether the user chose an engine: by flag, environment or current context.
func chosen(opts *cliflags.ClientOptions, cfg *configfile.ConfigFile) bool {
	return opts.Context != "" || len(opts.Hosts) > 0 ||
		os.Getenv(client.EnvOverrideHost) != "" ||
		os.Getenv(command.EnvOverrideContext) != "" ||
		cfg.CurrentContext != ""
}

// UseBoxyard makes Boxyard's engine the one of this process and its children where the user chose none.
// It uses the environment because a plugin parses its flags by itself.
func UseBoxyard(opts *cliflags.ClientOptions, cfg *configfile.ConfigFile) error {
	if chosen(opts, cfg) {
		return nil
	}
	return os.Setenv(client.EnvOverrideHost, boxyardHost)
}
