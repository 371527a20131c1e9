package report

import (
	"bytes"
	"encoding/xml"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

func exampleRun(t *testing.T) Run {
	t.Helper()
	record, err := spec.OpenRecord(filepath.Join(t.TempDir(), "run.json"))
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Date(2026, 11, 25, 1, 2, 3, 0, time.UTC)
	for _, results := range []map[string]spec.Result{
		{"[sig-node] passes": {State: spec.Failed, Ended: ended}},
		{
			"[sig-node] passes": {State: spec.Passed, Seconds: 3.25, Ended: ended},
			"[sig-apps] fails":  {State: spec.Failed, Seconds: 2, Message: "no <pod>\x00\nfile.go:3", Ended: ended},
			"[sig-auth] skips":  {State: spec.Skipped, Message: "no plugin", Ended: ended},
		},
	} {
		if err := record.Add(results); err != nil {
			t.Fatal(err)
		}
	}
	specs := []spec.Spec{{Name: "[sig-node] passes"}, {Name: "[sig-apps] fails"}, {Name: "[sig-auth] skips"}, {Name: "[sig-network] two nodes"}, {Name: "[sig-cli] later"}}
	run := New(specs, record, map[string]string{"[sig-network] two nodes": "There is one node."})
	run.Suite, run.Number, run.Commit, run.Versions = "conformance", 1, "0123456789ab", map[string]string{"kubernetes": "1.37.2"}
	return run
}

func TestEverySpecIsInTheRun(t *testing.T) {
	run := exampleRun(t)
	if n := len(run.In(spec.Passed)) + len(run.In(spec.Failed)) + len(run.In(spec.Skipped)) + len(run.In("")); n != 5 || len(run.Cases) != 5 {
		t.Errorf("%d of %d cases are in a state, want 5 of 5", n, len(run.Cases))
	}
	if run.Date != "2026-11-25" {
		t.Errorf("date %q", run.Date)
	}
	if repeated := run.Repeated(); len(repeated) != 1 || repeated[0].Name != "[sig-node] passes" {
		t.Errorf("repeated: %v", repeated)
	}
}

func TestJUnit(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJUnit(&b, exampleRun(t)); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	suite := got.Suites[0]
	if suite.Tests != 5 || suite.Failures != 1 || suite.Skipped != 3 || len(suite.Cases) != 5 {
		t.Errorf("%d tests, %d failures, %d skipped, %d cases", suite.Tests, suite.Failures, suite.Skipped, len(suite.Cases))
	}
	if suite.Properties[0] != (junitProperty{"commit", "0123456789ab"}) {
		t.Errorf("properties: %v", suite.Properties)
	}
	seconds, err := Seconds(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"[sig-node] passes": 3.2, "[sig-apps] fails": 2, "[sig-auth] skips": 0, "[sig-network] two nodes": 0, "[sig-cli] later": 0}
	if diff := cmp.Diff(want, seconds); diff != "" {
		t.Error(diff)
	}
}

func TestPage(t *testing.T) {
	var b bytes.Buffer
	if err := WritePage(&b, []Run{exampleRun(t)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| [1](conformance/junit-1.xml) | 2026-11-25 | 0123456789ab | 5 | 1 | 1 | 2 | 1 |",
		"- kubernetes: 1.37.2",
		"### Failed (1)\n\n- \\[sig-apps\\] fails\n  <br>no &lt;pod>\n",
		"### Skipped (2)",
		"<br>There is one node.",
		"### Passed at a second attempt (1)",
		"### Not run yet (1)",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, b.String())
		}
	}
}
