package docker

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/config/configfile"
	cliflags "github.com/docker/cli/cli/flags"
	"github.com/moby/moby/client"
)

// forwardBuild rewrites the commands that are buildx's: build, image build, builder, bake.
// It follows forwardBuilder of docker/cli's cmd/docker.
func forwardBuild(args []string) ([]string, bool) {
	forwards := []struct{ from, to []string }{
		{[]string{"bake"}, []string{"buildx", "bake"}},
		{[]string{"builder"}, []string{"buildx"}},
		{[]string{"build"}, []string{"buildx", "build"}},
		{[]string{"image", "build"}, []string{"buildx", "build"}},
	}
	for _, f := range forwards {
		if len(args) < len(f.from) || !slices.Equal(args[:len(f.from)], f.from) {
			continue
		}
		if args[0] != "bake" && legacyBuilder() {
			return nil, false
		}
		return slices.Concat(f.to, args[len(f.from):]), true
	}
	return nil, false
}

// legacyBuilder says whether the user switched BuildKit off.
func legacyBuilder() bool {
	enabled, err := strconv.ParseBool(os.Getenv("DOCKER_BUILDKIT"))
	return err == nil && !enabled
}

// namesBuilder says whether the user chose a builder for this command.
func namesBuilder(args []string) bool {
	if os.Getenv("BUILDX_BUILDER") != "" {
		return true
	}
	return slices.ContainsFunc(args, func(arg string) bool {
		return arg == "--builder" || strings.HasPrefix(arg, "--builder=")
	})
}

// currentContext is the name of the context in use, which is also that of its builder.
// The precedence is that of resolveContextName in docker/cli's cli/command.
func currentContext(opts *cliflags.ClientOptions, cfg *configfile.ConfigFile) string {
	switch {
	case opts.Context != "":
		return opts.Context
	case len(opts.Hosts) > 0, os.Getenv(client.EnvOverrideHost) != "":
		return command.DefaultContextName
	case os.Getenv(command.EnvOverrideContext) != "":
		return os.Getenv(command.EnvOverrideContext)
	case cfg.CurrentContext != "":
		return cfg.CurrentContext
	}
	return command.DefaultContextName
}
