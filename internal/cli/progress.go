package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
)

// await prints a line per part as it becomes ready, and ends when all are, when one has failed for
// good, or after the timeout. The daemon goes on in any case.
func (a *App) await(ctx context.Context, timeout time.Duration, begin time.Time) error {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p := progress{out: a.Out, begin: begin, said: map[string]bool{}}
	var last controlapi.Status
	var failed error
	err := a.client().Events(limited, func(e controlapi.Event) bool {
		p.show(e)
		s, err := a.client().Status(limited)
		if err != nil {
			failed = err
			return false
		}
		last = s
		failed = a.failure(s)
		return !s.Ready && failed == nil
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return stillWaiting(timeout, last)
	case errors.Is(err, io.ErrUnexpectedEOF), fault.Code(err) == "not-running", fault.Code(failed) == "not-running":
		return a.daemonEnded(ctx, "")
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	printWarnings(a.Out, "", last)
	a.welcome(time.Since(begin), last)
	return nil
}

// progress prints events as lines.
type progress struct {
	out   io.Writer
	begin time.Time
	said  map[string]bool // states that were printed, by part
}

func (p *progress) show(e controlapi.Event) {
	after := fmt.Sprintf("%5.1f s", max(0, e.Time.Sub(p.begin).Seconds()))
	switch e.To {
	case controlapi.Note:
		fmt.Fprintf(p.out, "  note: %s\n", e.Reason)
	case "ready":
		if !p.said[e.Component] {
			fmt.Fprintf(p.out, "  %-12s ready %s%s\n", e.Component, after, remark(e.Reason))
		}
		p.said[e.Component] = true
	case "backoff":
		fmt.Fprintf(p.out, "  %-12s ended %s  and starts again: %s\n", e.Component, after, indent(e.Reason))
	case "failed":
		fmt.Fprintf(p.out, "  %-12s failed%s  %s\n", e.Component, after, indent(e.Reason))
	}
}

func remark(reason string) string {
	if reason == "" {
		return ""
	}
	return "  " + reason
}

// indent keeps the log lines of a reason apart from the lines of other parts.
func indent(reason string) string {
	return strings.ReplaceAll(strings.TrimSpace(reason), "\n", "\n      ")
}

// failure is the error of a part that will not start by itself any more.
func (a *App) failure(s controlapi.Status) error {
	for _, c := range s.Components {
		if c.State != "failed" {
			continue
		}
		log := c.Name
		if _, err := os.Stat(a.Layout.LogFile(log)); err != nil {
			log = "boxyard" // a part without a process logs in the daemon
		}
		return &fault.Error{Code: "part-failed", Summary: c.Name + " does not start", Hint: "boxyard logs " + log}
	}
	return nil
}

func stillWaiting(timeout time.Duration, s controlapi.Status) error {
	var waits []string
	for _, c := range s.Components {
		if c.State != "ready" {
			waits = append(waits, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Name, c.State, waiting(c))))
		}
	}
	return &fault.Error{
		Code:    "timeout",
		Summary: fmt.Sprintf("not ready after %s: %s", timeout, strings.Join(waits, "; ")),
		Hint:    "boxyard status",
	}
}
