package process

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	child, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	for _, text := range []string{"aaaaaa", "bbbbbb", "cccccc", "dd"} {
		if _, err := child.WriteString(text); err != nil { // goes to the new end after a truncation
			t.Fatal(err)
		}
		if err := rotate(path, 5, 3); err != nil {
			t.Fatal(err)
		}
	}
	for suffix, want := range map[string]string{"": "dd", ".1": "cccccc", ".2": "bbbbbb", ".3": ""} {
		if got := read(t, path+suffix); got != want {
			t.Errorf("%s: %q, want %q", suffix, got, want)
		}
	}
	if _, err := child.WriteString("eeeeee"); err != nil {
		t.Fatal(err)
	}
	if err := rotate(path, 5, 1); err != nil {
		t.Fatal(err)
	}
	if live, old := read(t, path), read(t, path+".1"); live != "" || old != "cccccc" {
		t.Errorf("keeping one: %q and %q", live, old)
	}
}

func TestRotateLeavesWhatItShould(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := rotate(path, 5, 3); err != nil {
		t.Errorf("no file: %v", err)
	}
	write(t, path, "12345")
	if err := rotate(path, 5, 3); err != nil || read(t, path) != "12345" {
		t.Errorf("as large as allowed: %v", err)
	}
	if err := rotate(path, 0, 3); err != nil || read(t, path) != "12345" {
		t.Errorf("without a limit: %v", err)
	}
}

// A full disk has no room for the copy, and the log must not keep it full.
func TestRotateOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	write(t, path, "123456")
	if err := os.Symlink("/dev/full", path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := rotate(path, 5, 2); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v", err)
	}
	if got := read(t, path); got != "" {
		t.Errorf("the log still has %q", got)
	}
	if _, err := os.Lstat(path + ".1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part of a copy is left: %v", err)
	}
}

func TestTail(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", 40<<10)
	for name, tt := range map[string]struct {
		live, old string
		lines     int
		want      []string
	}{
		"none":         {"", "", 3, nil},
		"fewer":        {"a\nb\n", "", 3, []string{"a", "b"}},
		"exact":        {"a\nb\nc\n", "", 3, []string{"a", "b", "c"}},
		"more":         {"a\nb\nc\nd\n", "", 3, []string{"b", "c", "d"}},
		"no newline":   {"a\nb", "", 1, []string{"b"}},
		"empty line":   {"a\n\n", "", 2, []string{"a", ""}},
		"zero":         {"a\n", "", 0, nil},
		"long lines":   {"a\n" + long + "\nb\n", "", 2, []string{long, "b"}},
		"just rotated": {"d\n", "a\nb\nc\n", 3, []string{"b", "c", "d"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			write(t, path, tt.live)
			if tt.old != "" {
				write(t, path+".1", tt.old)
			}
			got, err := Tail(path, tt.lines)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("got %d lines %.100q, %v", len(got), got, err)
			}
		})
	}
	if got, err := Tail(filepath.Join(dir, "missing"), 3); err != nil || len(got) != 0 {
		t.Errorf("missing: %v, %v", got, err)
	}
}

func TestTailFrom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	write(t, path, "old\nnew\n")
	for from, want := range map[int64][]string{4: {"new"}, 8: nil, 100: {"old", "new"}} {
		if got, err := tail(path, from, 5); err != nil || !slices.Equal(got, want) {
			t.Errorf("from %d: %q, %v", from, got, err)
		}
	}
}

func TestEnterCgroup(t *testing.T) {
	plain, cpuset := t.TempDir(), t.TempDir()
	if err := enter(plain, "yard/daemons/x", 42); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(plain, "yard/daemons/x/cgroup.procs")); got != "42" {
		t.Errorf("procs %q", got)
	}

	write(t, filepath.Join(cpuset, "cpuset.cpus"), "0-1\n")
	write(t, filepath.Join(cpuset, "cpuset.mems"), "0\n")
	for _, dir := range []string{"yard", "yard/x"} {
		write(t, filepath.Join(cpuset, dir, "cpuset.cpus"), "\n")
		write(t, filepath.Join(cpuset, dir, "cpuset.mems"), "\n")
	}
	write(t, filepath.Join(cpuset, "yard", "cpuset.cpus"), "1\n") // chosen, and what is below follows
	if err := enter(cpuset, "yard/x", 42); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"cpuset.cpus": "1\n", "cpuset.mems": "0\n", "cgroup.procs": "42"} {
		if got := read(t, filepath.Join(cpuset, "yard/x", file)); got != want {
			t.Errorf("%s %q, want %q", file, got, want)
		}
	}
	// A cpuset that cannot be set up is left, without an error.
	if err := enter(cpuset, "broken/x", 42); err != nil || read(t, filepath.Join(cpuset, "broken/x/cgroup.procs")) != "" {
		t.Errorf("broken cpuset: %v", err)
	}
}

func TestHierarchies(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "cpu"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := hierarchies(dir); err != nil || len(got) != 0 {
		t.Errorf("no cgroups here, got %v, %v", got, err)
	}
	if _, err := hierarchies(filepath.Join(dir, "none")); err == nil {
		t.Error("no error")
	}
}
