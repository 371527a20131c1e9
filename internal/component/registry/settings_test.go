package registry

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/registry"
)

func full() settings {
	return settings{
		On: true, Port: 5000, TLS: true, Htpasswd: "ann:hash\n",
		Caches: []registry.Cache{{Registry: "docker.io", Username: "ann", Password: "secret", MaxBytes: 10e9}},
	}
}

// TestConfigIsGolden: the process decodes the same file in its own test (engine/registry).
func TestConfigIsGolden(t *testing.T) {
	got, err := json.MarshalIndent(newConfig(Options{Layout: paths.Default()}, full()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/registry.json")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)+"\n"); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestSettingsAreKeptFromOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "registry", "settings.json")
	if s, err := readSettings(file); err != nil || s.wanted() || s.Port != registry.DefaultPort {
		t.Errorf("without a file: %+v, %v", s, err)
	}
	if err := full().write(file); err != nil {
		t.Fatal(err)
	}
	got, err := readSettings(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(full(), got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestWith(t *testing.T) {
	off, port := false, 5001
	after := full().with(registry.Change{On: &off, Port: &port, AddCache: &registry.Cache{Registry: "ghcr.io"}})
	want := full()
	want.On, want.Port = false, 5001
	want.Caches = append(want.Caches, registry.Cache{Registry: "ghcr.io"})
	if d := cmp.Diff(want, after); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if again := after.with(registry.Change{AddCache: &registry.Cache{Registry: "ghcr.io", MaxBytes: 5}}); len(again.Caches) != 2 || again.Caches[1].MaxBytes != 5 {
		t.Errorf("a cache that is there is replaced: %+v", again.Caches)
	}
	if gone := after.with(registry.Change{RemoveCache: "docker.io"}); len(gone.Caches) != 1 || len(after.Caches) != 2 {
		t.Errorf("%+v of %+v", gone.Caches, after.Caches)
	}
}

func TestMirrorsLeaveUsersFilesAlone(t *testing.T) {
	dir := t.TempDir()
	c := New(Options{Layout: paths.Default(), Registries: dir})
	users := filepath.Join(dir, "ghcr.io", "hosts.toml")
	if err := os.MkdirAll(filepath.Dir(users), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(users, []byte("server = \"https://ghcr.io\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.mirrors([]registry.Cache{{Registry: "docker.io"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.free("ghcr.io"); err == nil {
		t.Error("a user's file is taken for free")
	}
	if err := c.free("docker.io"); err != nil {
		t.Errorf("our own file is in our way: %v", err)
	}
	if got := Outside(dir); len(got) != 1 || got[0] != c.hostsFile("docker.io") {
		t.Errorf("ours are %v", got)
	}
	if err := c.mirrors(nil); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "ghcr.io" {
		t.Errorf("left are %v, %v", left, err)
	}
}
