package report

import (
	"slices"
	"strings"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

// Case is one spec in a run.
type Case struct {
	Name     string
	State    spec.State // "" where it has not run yet
	Seconds  float64
	Message  string
	Attempts int
}

// Run is one run of a suite, as far as it has got.
type Run struct {
	Suite  string
	Number int
	// Commit is what was tested; its documents may be of another commit.
	Commit string
	// Date is that of the last result, as 2006-01-02.
	Date string
	// Versions are the programs that took part, by name.
	Versions map[string]string
	Cases    []Case
}

// New makes a run of the suite's own list: a spec that must not run is skipped, with the reason.
func New(specs []spec.Spec, record *spec.Record, unrunnable map[string]string) Run {
	var run Run
	for _, s := range specs {
		c := Case{Name: s.Name}
		if reason, ok := unrunnable[s.Name]; ok {
			c.State, c.Message = spec.Skipped, reason
		} else if last, ok := record.Last(s.Name); ok {
			c.State, c.Seconds, c.Message, c.Attempts = last.State, last.Seconds, printable(last.Message), record.Attempts(s.Name)
			run.Date = max(run.Date, last.Ended.UTC().Format("2006-01-02"))
		}
		run.Cases = append(run.Cases, c)
	}
	slices.SortFunc(run.Cases, func(a, b Case) int { return strings.Compare(a.Name, b.Name) })
	return run
}

// In are the cases in one state.
func (r Run) In(state spec.State) []Case {
	return slices.DeleteFunc(slices.Clone(r.Cases), func(c Case) bool { return c.State != state })
}

// Repeated are the cases that passed, but not at once.
func (r Run) Repeated() []Case {
	return slices.DeleteFunc(r.In(spec.Passed), func(c Case) bool { return c.Attempts < 2 })
}
