package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

func TestFocusMatchesTheSpecAndNoOther(t *testing.T) {
	const name = "[sig-node] Pods should run (twice), at most [Conformance]"
	u := upstream{dir: "/d", repo: "/r", suite: suite{args: []string{"--storage.testdriver=test/x.yaml", "--other=1"}}}
	args := u.args(spec.Batch{Specs: []spec.Spec{{Name: name}}}, 6, "/out")
	var focus string
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--focus="); ok {
			focus = value
		}
	}
	re, err := regexp.Compile(focus)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		suiteText + " " + name:           true,
		suiteText + " " + name + " more": false,
		suiteText + " before " + name:    false,
	} {
		if re.MatchString(text) != want {
			t.Errorf("%q matches %q: %v, want %v", focus, text, !want, want)
		}
	}
	if !slices.Contains(args, "--procs=1") {
		t.Error("more processes than specs")
	}
	if !slices.Contains(args, "--storage.testdriver=/r/test/x.yaml") || !slices.Contains(args, "--other=1") {
		t.Errorf("the suite's own arguments are not there: %v", args)
	}
}

func TestSerialSpecsAreAlone(t *testing.T) {
	batch := spec.Batch{Serial: true, Specs: []spec.Spec{{Name: "a"}, {Name: "b"}}}
	if args := (upstream{}).args(batch, 6, ""); !slices.Contains(args, "--procs=1") {
		t.Errorf("got %v", args)
	}
}

func TestEachSuiteCanBeFound(t *testing.T) {
	for _, s := range suites() {
		if _, err := findSuite(s.name); err != nil {
			t.Error(err)
		}
		if _, err := regexp.Compile(s.focus); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	if _, err := findSuite("nothing"); err == nil || !strings.Contains(err.Error(), "networkpolicy") {
		t.Errorf("got %v, want the names that there are", err)
	}
}
