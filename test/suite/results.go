package suite

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

// event is what test2json says.
type event struct {
	Time    time.Time
	Action  string
	Test    string
	Elapsed float64
	Output  string
}

// Results reads, from the output of test2json, what came of each test that ran to its end, by its name behind prefix.
// A test is said to have failed, too, when the program ended in it. Parts of a test are not counted.
func Results(prefix string, r io.Reader) (map[string]spec.Result, error) {
	found := map[string]spec.Result{}
	output := map[string]*strings.Builder{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		var e event
		if json.Unmarshal(line, &e) != nil || e.Test == "" {
			continue // a line of the tool itself
		}
		test, _, sub := strings.Cut(e.Test, "/")
		if output[test] == nil {
			output[test] = &strings.Builder{}
		}
		states := map[string]spec.State{"pass": spec.Passed, "fail": spec.Failed, "skip": spec.Skipped}
		switch state, ended := states[e.Action]; {
		case e.Action == "output":
			output[test].WriteString(e.Output)
		case ended && !sub:
			result := spec.Result{State: state, Seconds: e.Elapsed, Ended: e.Time}
			if state != spec.Passed {
				result.Message = message(output[test].String())
			}
			found[prefix+test] = result
		}
	}
}

// message are the lines that say something: those of assertions and skips, not the log of a daemon. Of many, the first
// and the last: a panic is told of first, what came before an assertion before it.
func message(output string) string {
	const each = 25
	var told []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") || strings.Contains(line, " level=") {
			continue
		}
		told = append(told, line)
	}
	if left := len(told) - 2*each; left > 0 {
		told = slices.Replace(told, each, each+left, fmt.Sprintf("(%d lines)", left))
	}
	return strings.Join(told, "\n")
}

// Reasons reads a list of names, each with its reason (spec.ReadReasons). A name that upstream does not have is an
// error: it would be left out in silence.
func Reasons(file string, known func(name string) bool) (map[string]string, error) {
	names, err := spec.ReadReasons(file)
	if err != nil {
		return nil, err
	}
	for name := range names {
		if !known(name) {
			return nil, fmt.Errorf("%s: upstream has no test %q", file, name)
		}
	}
	return names, nil
}

// Say tells the person who waits, with the time.
func Say(format string, args ...any) {
	fmt.Printf(time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// SayFailed names the tests that have failed, each with what it said.
func SayFailed(results map[string]spec.Result) {
	for _, name := range slices.Sorted(maps.Keys(results)) {
		if r := results[name]; r.State == spec.Failed {
			Say("  failed: %s\n\t%s", name, strings.ReplaceAll(r.Message, "\n", "\n\t"))
		}
	}
}
