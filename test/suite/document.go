package suite

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

// Outcome is what came of a test: a state, "" where it has not run yet, and for others than passed the reason.
type Outcome struct {
	Name   string
	State  spec.State
	Reason string
}

// OutcomeOf is that of a test which may run: its last result, with the reason that explained gives where it did not pass.
func OutcomeOf(name string, record *spec.Record, explained map[string]string) Outcome {
	o := Outcome{Name: name}
	last, ok := record.Last(name)
	if !ok {
		return o
	}
	o.State, o.Reason = last.State, said(last.Message)
	if reason, ok := explained[name]; ok && last.State != spec.Passed {
		o.Reason = reason
	}
	return o
}

var position = regexp.MustCompile(`^\S+\.go:\d+: `)

// said is why a test skipped itself, without the place in its source.
func said(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	return position.ReplaceAllString(line, "")
}

// In are those in one state.
func In(all []Outcome, state spec.State) []Outcome {
	var some []Outcome
	for _, o := range all {
		if o.State == state {
			some = append(some, o)
		}
	}
	return some
}

// Row is a line of the table with the numbers.
func Row(b *strings.Builder, title string, all []Outcome) {
	fmt.Fprintf(b, "| %s | %d | %d | %d | %d | %d |\n", title, len(all),
		len(In(all, spec.Passed)), len(In(all, spec.Failed)), len(In(all, spec.Skipped)), len(In(all, "")))
}

// Sections name all tests, those that need a reason first.
func Sections(b *strings.Builder, all []Outcome) {
	section(b, "Failed", In(all, spec.Failed))
	section(b, "Skipped", In(all, spec.Skipped))
	section(b, "Not run yet", In(all, ""))
	section(b, "Passed", In(all, spec.Passed))
}

func section(b *strings.Builder, title string, all []Outcome) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s (%d)\n\n", title, len(all))
	for _, o := range all {
		if o.Reason == "" {
			fmt.Fprintf(b, "- %s\n", o.Name)
		} else {
			fmt.Fprintf(b, "- %s: %s\n", o.Name, strings.ReplaceAll(o.Reason, "|", `\|`))
		}
	}
}
