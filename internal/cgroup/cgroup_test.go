package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/boxyard/boxyard/internal/fault"
)

func TestNames(t *testing.T) {
	plain, sd := Root{Name: "yard"}, Root{Name: "yard", Systemd: true}
	for _, tt := range []struct{ got, want string }{
		{plain.Dir(), "yard"},
		{plain.Kubelet(), "/yard"},
		{plain.OfPart("dns"), "yard/daemons/dns"},
		{sd.Dir(), "yard.slice"},
		{sd.Kubelet(), "/yard"},
		{sd.OfPart("dns"), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

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
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCpusetOfV1InheritsWhatIsEmpty(t *testing.T) {
	mount := t.TempDir()
	write(t, filepath.Join(mount, "cpuset.cpus"), "0-1\n")
	write(t, filepath.Join(mount, "cpuset.mems"), "0\n")
	write(t, filepath.Join(mount, "yard", "cpuset.cpus"), "1\n")
	write(t, filepath.Join(mount, "yard", "cpuset.mems"), "\n")
	if err := ensure(mount, "yard"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(mount, "yard", "cpuset.cpus")); got != "1\n" {
		t.Errorf("cpus: %q, a chosen value must stay", got)
	}
	if got := read(t, filepath.Join(mount, "yard", "cpuset.mems")); got != "0\n" {
		t.Errorf("mems: %q", got)
	}
}

func TestV2ReportsAMissingController(t *testing.T) {
	mount := t.TempDir()
	write(t, filepath.Join(mount, "cgroup.controllers"), "cpu memory pids\n")
	write(t, filepath.Join(mount, "yard", "cgroup.controllers"), "cpu pids\n")
	if err := ensure(mount, "yard"); fault.Code(err) != "cgroup-controller" {
		t.Errorf("got %v", err)
	}
	write(t, filepath.Join(mount, "yard", "cgroup.controllers"), "cpu pids memory\n")
	if err := ensure(mount, "yard"); err != nil {
		t.Error(err)
	}
}

func TestHybridUnifiedNeedsNothing(t *testing.T) {
	mount := t.TempDir()
	write(t, filepath.Join(mount, "cgroup.controllers"), "")
	write(t, filepath.Join(mount, "yard", "cgroup.controllers"), "")
	if err := ensure(mount, "yard"); err != nil {
		t.Error(err)
	}
}
