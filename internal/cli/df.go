package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/disk"
)

func (a *App) dfCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "df",
		Short: "What uses the disk, in Docker and in Kubernetes",
		Args:  atMost(0),
	}
	return runWithOutput(cmd, func(cmd *cobra.Command, _ []string, asJSON bool) error {
		return a.df(cmd.Context(), asJSON)
	})
}

func (a *App) df(ctx context.Context, asJSON bool) error {
	report, err := a.client().Disk(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(report)
	}
	return printDisk(a.Out, report)
}

func printDisk(w io.Writer, r disk.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHAT\tCOUNT\tIN USE\tSIZE\tRECLAIMABLE\tBY")
	for _, u := range r.Uses {
		counted := u.Count > 0 || u.Reclaim != ""
		reclaim := ""
		if u.ReclaimableBytes > 0 {
			reclaim = u.Reclaim
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", u.Name, dash(counted, fmt.Sprint(u.Count)), dash(counted, fmt.Sprint(u.Active)),
			amount(u.Bytes), dash(u.Reclaim != "", amount(u.ReclaimableBytes)), reclaim)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	used := int64(0)
	if r.SizeBytes > 0 {
		used = 100 * (r.SizeBytes - r.FreeBytes) / r.SizeBytes
	}
	_, err := fmt.Fprintf(w, "\nThe disk has %s free of %s and is %d %% full. Above %d %% (disk.limitPercent), pulled images that nobody uses and caches of builds are removed.\n",
		amount(r.FreeBytes), amount(r.SizeBytes), used, r.LimitPercent)
	return err
}

// amount is a size as docker shows it.
func amount(n int64) string { return units.HumanSizeWithPrecision(float64(n), 3) }
