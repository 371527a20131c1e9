package cli

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/systemd"
)

// settings are the flags that `up` and `daemon` share: a configuration file and what goes over it.
type settings struct {
	file       string
	apiPort    int
	without    []string
	ephemeral  bool
	payloadDir string
}

func (s *settings) register(cmd *cobra.Command, a *App) {
	f := cmd.Flags()
	f.StringVar(&s.file, "config", a.Layout.ConfigFile(), "configuration file")
	f.IntVar(&s.apiPort, "api-port", 0, "port of the Kubernetes API (default 6443)")
	f.StringSliceVar(&s.without, "without", nil, "leave out a part: cluster, docker")
	f.BoolVar(&s.ephemeral, "ephemeral", false, "for CI jobs: do not wait for the disk; a power cut may lose everything")
	f.StringVar(&s.payloadDir, "payload-dir", "", "take the parts' binaries from this directory, not from this program")
}

// load returns the configuration and the keys in it that the user chose. Paths are absolute after it, since the daemon
// works in another directory.
func (s *settings) load() (config.Config, map[string]bool, error) {
	for _, path := range []*string{&s.file, &s.payloadDir} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return config.Config{}, nil, fmt.Errorf("the working directory: %w", err)
		}
		*path = absolute
	}
	c, err := config.Load(s.file)
	if err != nil {
		return c, nil, err
	}
	keys, err := config.Keys(s.file)
	if err != nil {
		return c, nil, err
	}
	chosen := maps.Clone(keys)
	if s.apiPort != 0 {
		c.APIPort, chosen["apiPort"] = s.apiPort, true
	}
	for _, part := range s.without {
		if !slices.Contains(c.Without, part) {
			c.Without = append(c.Without, part)
		}
		chosen["without"] = true
	}
	c.Ephemeral = c.Ephemeral || s.ephemeral
	return c, chosen, c.Validate()
}

// arguments repeat the flags for the daemon.
func (s *settings) arguments(defaultFile string) []string {
	var args []string
	if s.file != defaultFile {
		args = append(args, "--config", s.file)
	}
	if s.apiPort != 0 {
		args = append(args, "--api-port", strconv.Itoa(s.apiPort))
	}
	for _, part := range s.without {
		args = append(args, "--without", part)
	}
	if s.ephemeral {
		args = append(args, "--ephemeral")
	}
	if s.payloadDir != "" {
		args = append(args, "--payload-dir", s.payloadDir)
	}
	return args
}

// forUnit refuses flags that an installed unit would not see.
func (s *settings) forUnit(a *App) error {
	if len(s.arguments(a.Layout.ConfigFile())) == 0 {
		return nil
	}
	return &fault.Error{
		Code:    "flags-with-unit",
		Summary: "flags cannot be given to the installed unit " + systemd.Service,
		Hint:    "set them in " + a.Layout.ConfigFile() + ", or boxyard uninstall",
		Exit:    fault.ExitUsage,
	}
}
