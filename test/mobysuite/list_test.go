package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const source = `package x

import "testing"

func TestMain(m *testing.M) {}

func TestPlain(t *testing.T) { d.New(t) }

func TestOwn(t *testing.T) { d := daemon.New(t); _ = d }

func TestThroughHelper(t *testing.T) { helper(t).Start() }

func TestHandsOn(t *testing.T) { t.Run("x", helper) }

func TestMethodOfThatName(t *testing.T) { t.helper() }

func helper(t *testing.T) { swarm.NewSwarm(t) }
`

func TestList(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"a/b/x_test.go":         source,
		"a/b/x_windows_test.go": "package x\nfunc TestWindows() {}\n",
		"none/doc.go":           "package none\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	packages, err := list(root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range packages {
		for _, test := range p.tests {
			got[p.full(test)] = test.starts
		}
	}
	want := map[string]bool{
		"a/b/TestPlain": false, "a/b/TestOwn": true, "a/b/TestThroughHelper": true, "a/b/TestHandsOn": true, "a/b/TestMethodOfThatName": false,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
