package docker

import (
	"slices"
	"testing"

	"github.com/docker/cli/cli/config/configfile"
	cliflags "github.com/docker/cli/cli/flags"
)

// clean removes what the environment of the test says about engines and builders.
func clean(t *testing.T) {
	t.Helper()
	for _, name := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_BUILDKIT", "BUILDX_BUILDER"} {
		t.Setenv(name, "")
	}
}

func TestForwardBuild(t *testing.T) {
	tests := []struct {
		args, want []string // no want: docker's own command
		buildkit   string
	}{
		{args: []string{"build", "-t", "build", "."}, want: []string{"buildx", "build", "-t", "build", "."}},
		{args: []string{"image", "build", "."}, want: []string{"buildx", "build", "."}},
		{args: []string{"builder", "prune"}, want: []string{"buildx", "prune"}},
		{args: []string{"bake"}, want: []string{"buildx", "bake"}},
		{args: []string{"image", "ls"}},
		{args: []string{"run", "build"}},
		{args: []string{"build", "."}, buildkit: "0"},
		{args: []string{"bake"}, want: []string{"buildx", "bake"}, buildkit: "0"},
		{args: []string{"build", "."}, want: []string{"buildx", "build", "."}, buildkit: "1"},
	}
	for _, tt := range tests {
		clean(t)
		t.Setenv("DOCKER_BUILDKIT", tt.buildkit)
		got, ok := forwardBuild(tt.args)
		if !slices.Equal(got, tt.want) || ok != (tt.want != nil) {
			t.Errorf("DOCKER_BUILDKIT=%s %q: got %q, want %q", tt.buildkit, tt.args, got, tt.want)
		}
	}
}

func TestChosenAndCurrentContext(t *testing.T) {
	tests := []struct {
		name    string
		opts    cliflags.ClientOptions
		cfg     configfile.ConfigFile
		env     map[string]string
		chosen  bool
		context string
	}{
		{name: "nothing said", context: "default"},
		{name: "--host", opts: cliflags.ClientOptions{Hosts: []string{"tcp://x"}}, chosen: true, context: "default"},
		{name: "--context", opts: cliflags.ClientOptions{Context: "a"}, env: map[string]string{"DOCKER_HOST": "tcp://x"}, chosen: true, context: "a"},
		{name: "DOCKER_HOST", env: map[string]string{"DOCKER_HOST": "tcp://x", "DOCKER_CONTEXT": "b"}, chosen: true, context: "default"},
		{name: "DOCKER_CONTEXT", env: map[string]string{"DOCKER_CONTEXT": "b"}, cfg: configfile.ConfigFile{CurrentContext: "c"}, chosen: true, context: "b"},
		{name: "docker context use", cfg: configfile.ConfigFile{CurrentContext: "c"}, chosen: true, context: "c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clean(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			if got := chosen(&tt.opts, &tt.cfg); got != tt.chosen {
				t.Errorf("chosen = %v, want %v", got, tt.chosen)
			}
			if got := currentContext(&tt.opts, &tt.cfg); got != tt.context {
				t.Errorf("context %q, want %q", got, tt.context)
			}
		})
	}
}

func TestBuildUsesTheBuilderOfTheEngine(t *testing.T) {
	tests := []struct {
		name string
		args []string
		cfg  configfile.ConfigFile
		want []string
	}{
		{name: "build", args: []string{"build", "."}, want: []string{"BUILDX_BUILDER=default"}},
		{name: "a builder is named", args: []string{"build", "--builder=x", "."}},
		{name: "buildx install", args: []string{"build", "."}, cfg: configfile.ConfigFile{Aliases: map[string]string{"builder": "buildx"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clean(t)
			call, ok := findPlugin(append([]string{"docker", "-D"}, tt.args...), tt.args, &cliflags.ClientOptions{}, &tt.cfg)
			if !ok || call.plugin != "buildx" || !slices.Equal(call.env, tt.want) {
				t.Errorf("call %+v, %v; want buildx with %q", call, ok, tt.want)
			}
			if want := append([]string{"docker", "-D", "buildx"}, tt.args...); !slices.Equal(call.args, want) {
				t.Errorf("args %q, want %q", call.args, want)
			}
		})
	}
}

// `docker login` and others save the configuration: the copy must not get into it.
func TestWithPluginsLeavesTheConfigurationAlone(t *testing.T) {
	cfg := configfile.ConfigFile{CLIPluginsExtraDirs: []string{"/mine"}}
	got := WithPlugins(provider{&cfg}).ConfigFile().CLIPluginsExtraDirs
	if len(got) != 2 || got[1] != "/mine" {
		t.Errorf("directories %q, want ours before /mine", got)
	}
	if !slices.Equal(cfg.CLIPluginsExtraDirs, []string{"/mine"}) {
		t.Errorf("the original has %q", cfg.CLIPluginsExtraDirs)
	}
}
