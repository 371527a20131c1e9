package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const volume = "default_data_pvc-0b7a8c1e-4f2d-4c3b-9a5e-1d2c3b4a5f6e"

// volumes makes a directory as the cluster process leaves it.
func volumes(t *testing.T, files ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "volumes")
	for _, f := range append(files, volume+"/deep/file") {
		path := filepath.Join(dir, f)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func noMounts(...string) ([]string, error) { return nil, nil }

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestRemoveVolumesRemovesWhatWasMade(t *testing.T) {
	dir := volumes(t, volumeMarker)
	if err := removeVolumes(dir, Absent, noMounts); err != nil {
		t.Fatal(err)
	}
	if there(dir) {
		t.Error("the directory is still there")
	}
}

func TestRemoveVolumesLeavesWhatIsOfOthers(t *testing.T) {
	dir := volumes(t, volumeMarker, "photos/one.jpg", "notes_pvc-1")
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := removeVolumes(dir, Used, noMounts); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"photos/one.jpg", "notes_pvc-1", "link"} {
		if !there(filepath.Join(dir, name)) {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range []string{volume, volumeMarker} {
		if there(filepath.Join(dir, name)) {
			t.Errorf("%s is still there", name)
		}
	}
}

func TestRemoveVolumesDoesNotFollowLinks(t *testing.T) {
	dir, others := volumes(t, volumeMarker), t.TempDir()
	if err := os.WriteFile(filepath.Join(others, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(others, filepath.Join(dir, volume, "link")); err != nil {
		t.Fatal(err)
	}
	if err := removeVolumes(dir, Absent, noMounts); err != nil {
		t.Fatal(err)
	}
	if !there(filepath.Join(others, "file")) {
		t.Error("a link was followed")
	}
}

func TestRemoveVolumesWithoutTheMarkerDoesNothing(t *testing.T) {
	dir := volumes(t)
	if err := removeVolumes(dir, Absent, noMounts); err != nil || !there(filepath.Join(dir, volume)) {
		t.Errorf("error %v; there: %v", err, there(filepath.Join(dir, volume)))
	}
	if err := removeVolumes(filepath.Join(dir, "none"), Absent, noMounts); err != nil {
		t.Error(err)
	}
}

func TestRemoveVolumesStopsAtMounts(t *testing.T) {
	dir := volumes(t, volumeMarker)
	mount := filepath.Join(dir, volume, "deep")
	err := removeVolumes(dir, Absent, func(...string) ([]string, error) { return []string{mount}, nil })
	if err == nil || !strings.Contains(err.Error(), mount) {
		t.Errorf("error: %v", err)
	}
	if !there(filepath.Join(mount, "file")) || !there(filepath.Join(dir, volumeMarker)) {
		t.Error("something was removed")
	}
}
