package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
)

func (a *App) statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What runs, since when, and what is waited for",
		Long: `What runs, since when, and what is waited for.

Exit codes: 0 everything is ready, 3 something is not, 5 Boxyard is not running.`,
		Args: atMost(0),
	}
	return runWithOutput(cmd, func(cmd *cobra.Command, _ []string, asJSON bool) error {
		return a.status(cmd.Context(), asJSON)
	})
}

func (a *App) status(ctx context.Context, asJSON bool) error {
	s, err := a.client().Status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		err = a.printJSON(s)
	} else {
		err = printStatus(a.Out, s, time.Now())
	}
	if err != nil {
		return err
	}
	if !s.Ready {
		return silent(fault.ExitDegraded)
	}
	return nil
}

func printStatus(w io.Writer, s controlapi.Status, now time.Time) error {
	state := s.Phase
	switch {
	case s.Ready:
		state = "ready"
	case s.Phase == controlapi.PhaseRunning:
		state = "not ready"
	}
	fmt.Fprintf(w, "Boxyard %s is %s (pid %d, %s, %s)\n\n", s.Version, state, s.PID, age(now.Sub(s.Since)), size(s.MemoryBytes))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PART\tSTATE\tSINCE\tPID\tMEMORY\tVERSION\tWAITING FOR")
	for _, c := range s.Components {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Name, c.State, age(now.Sub(c.Since)),
			dash(c.PID != 0, fmt.Sprint(c.PID)), dash(c.MemoryBytes != 0, size(c.MemoryBytes)), dash(c.Version != "", c.Version), waiting(c))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	printWarnings(w, "\n", s)
	return nil
}

// printWarnings says what parts that are ready cannot do. The lead comes before the first.
func printWarnings(w io.Writer, lead string, s controlapi.Status) {
	for _, c := range s.Components {
		if c.Warning != "" {
			fmt.Fprintf(w, "%s  note: %s: %s\n", lead, c.Name, c.Warning)
			lead = ""
		}
	}
}

// waiting is one line: the log lines that an error may carry are for `boxyard logs`.
func waiting(c controlapi.ComponentStatus) string {
	text := c.WaitingFor
	if text == "" && c.State != "ready" {
		text = c.LastError
	}
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func dash(have bool, text string) string {
	if have {
		return text
	}
	return "-"
}

func size(bytes int64) string { return fmt.Sprintf("%d MiB", (bytes+1<<19)>>20) }

// age is a duration in its largest unit, or its two largest where the first is small.
func age(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
