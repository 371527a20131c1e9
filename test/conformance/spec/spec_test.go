package spec

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What ginkgo writes, shortened to what matters.
const dryRun = `[{"SpecReports": [
	{"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"},
	{"ContainerHierarchyTexts": ["[sig-node] Pods", ""], "LeafNodeType": "It", "LeafNodeText": "should run [Conformance]", "State": "passed"},
	{"ContainerHierarchyTexts": ["[sig-apps] Daemon set [Serial]"], "LeafNodeType": "It", "LeafNodeText": "should roll [Conformance]", "ContainerHierarchyLabels": [["sig-apps", "Serial"]], "LeafNodeLabels": ["Conformance"], "State": "passed"},
	{"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "should be left out", "State": "skipped"}
]}]`

func TestList(t *testing.T) {
	got, err := List(strings.NewReader(dryRun))
	if err != nil {
		t.Fatal(err)
	}
	want := []Spec{
		{Name: "[sig-apps] Daemon set [Serial] should roll [Conformance]", Serial: true},
		{Name: "[sig-node] Pods should run [Conformance]"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if sig := got[0].SIG(); sig != "sig-apps" {
		t.Errorf("SIG is %q", sig)
	}
}

func TestListRefusesOneNameForTwo(t *testing.T) {
	one := `{"LeafNodeType": "It", "LeafNodeText": "x", "State": "passed"}`
	if _, err := List(strings.NewReader(`[{"SpecReports": [` + one + "," + one + `]}]`)); err == nil {
		t.Error("no error: results of one would count for the other")
	}
}

func TestResults(t *testing.T) {
	const report = `[{"SpecReports": [
		{"LeafNodeType": "It", "LeafNodeText": "passes", "State": "passed", "NumAttempts": 1, "RunTime": 1500000000},
		{"LeafNodeType": "It", "LeafNodeText": "fails", "State": "failed", "NumAttempts": 1, "CapturedGinkgoWriterOutput": "wrote",
		 "Failure": {"Message": "no pod", "Location": {"FileName": "a.go", "LineNumber": 7}}},
		{"LeafNodeType": "It", "LeafNodeText": "panics", "State": "panicked", "NumAttempts": 1},
		{"LeafNodeType": "It", "LeafNodeText": "does not apply", "State": "skipped", "NumAttempts": 1, "Failure": {"Message": "two nodes"}},
		{"LeafNodeType": "It", "LeafNodeText": "was filtered out", "State": "skipped"},
		{"LeafNodeType": "It", "LeafNodeText": "was interrupted", "State": "interrupted", "NumAttempts": 1}
	]}]`
	got, err := Results(strings.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Result{
		"passes":         {State: Passed, Seconds: 1.5},
		"fails":          {State: Failed, Message: "no pod\na.go:7", Output: "wrote"},
		"panics":         {State: Failed, Message: "\n:0"},
		"does not apply": {State: Skipped, Message: "two nodes"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestResultsSayThatTheSuiteCouldNotStart(t *testing.T) {
	const report = `[{"SpecReports": [{"LeafNodeType": "SynchronizedBeforeSuite", "State": "failed", "Failure": {"Message": "no API"}}]}]`
	if _, err := Results(strings.NewReader(report)); err == nil || !strings.Contains(err.Error(), "no API") {
		t.Errorf("got %v", err)
	}
}

func TestRecordGoesOnWhereItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "run.json")
	specs := []Spec{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	for i, results := range []map[string]Result{
		{"a": {State: Passed}, "b": {State: Failed, Output: "long"}},
		{"b": {State: Passed}},
	} {
		record, err := OpenRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := record.Add(results); err != nil {
			t.Fatal(err)
		}
		again, err := OpenRecord(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]Spec{{Name: "c"}}, again.Missing(specs, false)); diff != "" {
			t.Errorf("after %d: %s", i, diff)
		}
		want := [][]Spec{{{Name: "b"}, {Name: "c"}}, {{Name: "c"}}}[i]
		if diff := cmp.Diff(want, again.Missing(specs, true)); diff != "" {
			t.Errorf("after %d, with those that failed: %s", i, diff)
		}
	}
	record, err := OpenRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := record.Attempts("b"); n != 2 {
		t.Errorf("b has %d attempts, want 2: a failure must not be forgotten", n)
	}
}

func TestBatches(t *testing.T) {
	specs := []Spec{{Name: "s1", Serial: true}, {Name: "short"}, {Name: "long"}, {Name: "middle"}}
	seconds := map[string]float64{"short": 1, "middle": 5, "long": 60}
	got := Batches(specs, 2, func(name string) float64 { return seconds[name] })
	want := []Batch{
		{Specs: []Spec{{Name: "long"}, {Name: "middle"}}},
		{Specs: []Spec{{Name: "short"}}},
		{Specs: []Spec{{Name: "s1", Serial: true}}, Serial: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
