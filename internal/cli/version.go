package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/payload"
	"github.com/boxyard/boxyard/internal/version"
)

func (a *App) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Our version and that of every part",
		Args:  atMost(0),
	}
	return runWithOutput(cmd, func(_ *cobra.Command, _ []string, asJSON bool) error {
		return a.version(asJSON)
	})
}

func (a *App) version(asJSON bool) error {
	versions := a.versions()
	if asJSON {
		return a.printJSON(versions)
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "boxyard\t%s\n", versions["boxyard"])
	delete(versions, "boxyard")
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(w, "%s\t%s\n", name, versions[name])
	}
	return w.Flush()
}

// versions are those of what this program carries, or, where it carries nothing, of what was
// extracted on this machine. No daemon is asked: it may be another version.
func (a *App) versions() map[string]string {
	all := map[string]string{}
	if p, err := payload.Open(a.Exe); err == nil {
		maps.Copy(all, p.Versions())
	} else if data, err := os.ReadFile(filepath.Join(a.Layout.PayloadDir(), "current", "versions.json")); err == nil {
		_ = json.Unmarshal(data, &all) // a damaged file shows as missing versions
	}
	all["boxyard"] = version.Version
	return all
}
