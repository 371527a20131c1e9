package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

func TestUnrunnableHasReasonsAndIsShort(t *testing.T) {
	got, err := spec.ReadReasons("unrunnable.txt")
	if err != nil {
		t.Fatal(err)
	}
	const limit = 15
	if len(got) > limit {
		t.Errorf("%d specs cannot run, at most %d may", len(got), limit)
	}
	for name, reason := range got {
		if reason == "" {
			t.Errorf("%q has no reason", name)
		}
	}
}

func TestStateIsThatOfCode(t *testing.T) {
	dir := t.TempDir()
	do := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	state := func() tree {
		t.Helper()
		got, err := readTree(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	do("init", "-q")
	write("main.go", "package main")
	write("README.md", "one")
	do("add", ".")
	do("commit", "-q", "-m", "one")
	first := state()

	write("README.md", "two")
	write("docs/conformance/junit-1.xml", "<xml/>")
	do("add", ".")
	do("commit", "-q", "-m", "documents")
	documents := state()
	if documents.state != first.state || documents.commit == first.commit {
		t.Errorf("after a commit of documents: %v, before %v", documents, first)
	}

	write("main.go", "package main // more")
	dirty := state()
	if dirty.state == first.state || dirty.commit != documents.commit+"-dirty" {
		t.Errorf("with changed code: %v", dirty)
	}
}
