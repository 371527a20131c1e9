package dockerd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// steps makes a directory of BuildKit's with one step and a shared file, and a runc that writes down what it is asked.
func steps(t *testing.T, unmount func(string) error) (b buildSteps, step, asked string) {
	t.Helper()
	dir := t.TempDir()
	step, asked = filepath.Join(dir, "executor", "abc"), filepath.Join(dir, "asked")
	if err := os.MkdirAll(filepath.Join(step, "rootfs", "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(dir, "executor", "resolv.conf"): "nameserver 10.42.0.1\n",
		filepath.Join(dir, "runc"):                    "#!/bin/sh\necho \"$@\" >> " + asked + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return buildSteps{runc: filepath.Join(dir, "runc"), executor: filepath.Join(dir, "executor"), mounts: filepath.Join(dir, "mounts"), unmount: unmount}, step, asked
}

func TestClearEndsAndUnmountsAStep(t *testing.T) {
	mounted := 2
	b, step, asked := steps(t, func(path string) error {
		if filepath.Base(path) != "rootfs" {
			t.Errorf("unmounts %s", path)
		}
		if mounted == 0 {
			return unix.EINVAL
		}
		mounted--
		return nil
	})
	if err := b.clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, err := os.ReadFile(asked); err != nil || strings.TrimSpace(string(out)) != "delete --force abc" {
		t.Errorf("runc was asked for %q: %v", out, err)
	}
	if _, err := os.Stat(step); !errors.Is(err, os.ErrNotExist) || mounted != 0 {
		t.Errorf("the step is left: %v, %d mounts", err, mounted)
	}
	if _, err := os.Stat(filepath.Join(b.executor, "resolv.conf")); err != nil {
		t.Error(err)
	}
}

// What is still mounted holds the files of an image.
func TestClearRemovesNothingThatIsMounted(t *testing.T) {
	b, step, _ := steps(t, func(string) error { return unix.EBUSY })
	if err := b.clear(t.Context()); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(step, "rootfs", "etc")); err != nil {
		t.Error(err)
	}
}

func TestClearWithoutBuilds(t *testing.T) {
	if err := (buildSteps{executor: filepath.Join(t.TempDir(), "none")}).clear(t.Context()); err != nil {
		t.Error(err)
	}
}
