package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/fault"
)

// linkedClients are those that have a link of their own in Layout.BinDir.
func linkedClients() []string { return []string{"docker", "kubectl", "helm"} }

func isClient(name string) bool { return slices.Contains(linkedClients(), name) }

func (a *App) clientCommands() []*cobra.Command {
	var all []*cobra.Command
	for _, c := range []struct {
		name, short string
		program     string
		first       []string
	}{
		{"docker", "docker, on this machine's engine", "docker", nil},
		{"compose", "docker compose", "docker", []string{"compose"}},
		{"kubectl", "kubectl, on this machine's cluster", "kubectl", nil},
		{"helm", "helm, on this machine's cluster", "helm", nil},
	} {
		all = append(all, &cobra.Command{
			Use:                c.name,
			Short:              c.short,
			DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error {
				return a.execClient(c.program, append(slices.Clone(c.first), args...))
			},
		})
	}
	return all
}

// execClient becomes the client of the payload, with all arguments as they are. It returns only errors.
func (a *App) execClient(name string, args []string) error {
	path := filepath.Join(a.Layout.PayloadDir(), "current", name)
	if _, err := os.Stat(path); err != nil {
		return noClient(name, path, err)
	}
	env := append(os.Environ(), "BOXYARD=1")
	if err := a.Exec(path, append([]string{name}, args...), env); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}

func noClient(name, path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &fault.Error{
			Code:    "not-extracted",
			Summary: name + " is not there yet: Boxyard has never run on this machine",
			Hint:    "sudo boxyard up",
			Exit:    fault.ExitNotRunning,
		}
	}
	return fmt.Errorf("find %s: %w", path, err)
}
