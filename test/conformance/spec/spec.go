package spec

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Spec is one spec of upstream's suite.
type Spec struct {
	// Name is the whole text, containers first, as `ginkgo --focus` matches it behind the suite's own.
	Name string
	// Serial specs do not run beside others.
	Serial bool
}

// SIG is the special interest group that a spec belongs to, such as "sig-network".
func (s Spec) SIG() string {
	_, rest, found := strings.Cut(s.Name, "[")
	sig, _, closed := strings.Cut(rest, "]")
	if !found || !closed {
		return ""
	}
	return sig
}

// State is what came of a spec.
type State string

// The states of a spec that has run, or that must not.
const (
	Passed  State = "passed"
	Failed  State = "failed"
	Skipped State = "skipped" // by itself: it found that it does not apply
)

// Result is one attempt at a spec.
type Result struct {
	State State `json:"state"`
	// Seconds that it took.
	Seconds float64 `json:"seconds"`
	// Message is why it failed or skipped; "" where it passed.
	Message string    `json:"message,omitempty"`
	Ended   time.Time `json:"ended"`
	// Output is what a failed spec wrote. It is not kept in a Record.
	Output string `json:"-"`
}

// ginkgoReport is the part of ginkgo's JSON report (types.Report) that is read here.
type ginkgoReport struct {
	SpecReports []ginkgoSpec
}

type ginkgoSpec struct {
	ContainerHierarchyTexts    []string
	ContainerHierarchyLabels   [][]string
	LeafNodeType               string
	LeafNodeText               string
	LeafNodeLabels             []string
	State                      string
	NumAttempts                int
	EndTime                    time.Time
	RunTime                    time.Duration
	Failure                    ginkgoFailure
	CapturedGinkgoWriterOutput string
	CapturedStdOutErr          string
}

type ginkgoFailure struct {
	Message  string
	Location struct {
		FileName   string
		LineNumber int
	}
}

func (g ginkgoSpec) name() string {
	return strings.Join(slices.DeleteFunc(append(slices.Clone(g.ContainerHierarchyTexts), g.LeafNodeText), func(s string) bool { return s == "" }), " ")
}

// serial goes by the label that upstream gives a spec together with ginkgo's decorator: a dry run does not
// report the latter.
func (g ginkgoSpec) serial() bool {
	return slices.Contains(slices.Concat(append(g.ContainerHierarchyLabels, g.LeafNodeLabels)...), "Serial")
}

func decode(r io.Reader) ([]ginkgoSpec, error) {
	var reports []ginkgoReport
	if err := json.NewDecoder(r).Decode(&reports); err != nil {
		return nil, fmt.Errorf("read ginkgo's report: %w", err)
	}
	var specs []ginkgoSpec
	for _, report := range reports {
		specs = append(specs, report.SpecReports...)
	}
	return specs, nil
}

// List reads the report of a dry run: the specs that would have run, by name.
func List(r io.Reader) ([]Spec, error) {
	all, err := decode(r)
	if err != nil {
		return nil, err
	}
	var specs []Spec
	for _, g := range all {
		if g.LeafNodeType == "It" && g.State == string(Passed) {
			specs = append(specs, Spec{Name: g.name(), Serial: g.serial()})
		}
	}
	slices.SortFunc(specs, func(a, b Spec) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(specs); i++ {
		if specs[i].Name == specs[i-1].Name {
			return nil, fmt.Errorf("two specs are called %q", specs[i].Name)
		}
	}
	return specs, nil
}

// Results reads the report of a run: what came of each spec that ran to its end. Specs that were left out or
// interrupted have none. The error is for a report that says that nothing could run.
func Results(r io.Reader) (map[string]Result, error) {
	all, err := decode(r)
	if err != nil {
		return nil, err
	}
	results := map[string]Result{}
	for _, g := range all {
		if g.LeafNodeType != "It" {
			if g.State == string(Failed) || g.State == "panicked" {
				return results, fmt.Errorf("%s of the suite failed: %s", g.LeafNodeType, g.Failure.Message)
			}
			continue
		}
		result := Result{Seconds: g.RunTime.Seconds(), Ended: g.EndTime, Message: g.Failure.Message}
		switch g.State {
		case "passed":
			result.State = Passed
		case "failed", "panicked", "timedout":
			result.State = Failed
			result.Message = fmt.Sprintf("%s\n%s:%d", g.Failure.Message, g.Failure.Location.FileName, g.Failure.Location.LineNumber)
			result.Output = g.CapturedGinkgoWriterOutput + g.CapturedStdOutErr
		case "skipped":
			if g.NumAttempts == 0 { // it was filtered out
				continue
			}
			result.State = Skipped
		default: // pending, interrupted, aborted
			continue
		}
		results[g.name()] = result
	}
	return results, nil
}
