package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
)

const gigabytes = 1 << 30

// testDirectory is on a file system of 100 GiB on which nothing is mounted.
func testDirectory(t *testing.T) directory {
	t.Helper()
	return directory{
		path:   filepath.Join(t.TempDir(), "volumes"),
		size:   func(string) (int64, error) { return 100*gigabytes + 5, nil },
		mounts: func() (map[string]struct{}, error) { return nil, nil },
	}
}

func mustCreate(t *testing.T, d directory, name string) string {
	t.Helper()
	if err := d.make(); err != nil {
		t.Fatal(err)
	}
	path, err := d.create(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestDirNameIsAFileName(t *testing.T) {
	const volume = "pvc-0b7a8c1e-4f2d-4c3b-9a5e-1d2c3b4a5f6e"
	if got := dirName("default", "data", volume); got != "default_data_"+volume {
		t.Error(got)
	}
	long := dirName(strings.Repeat("n", 63), strings.Repeat("c", 253), volume)
	if len(long) != nameMax || !strings.HasSuffix(long, "_"+volume) {
		t.Errorf("%d characters: %s", len(long), long)
	}
}

func TestFitsGoesByTheFileSystem(t *testing.T) {
	d := testDirectory(t)
	for _, size := range []string{"0", "1", "100Gi"} {
		if err := d.fits(resource.MustParse(size)); err != nil {
			t.Errorf("%s: %v", size, err)
		}
	}
	for _, size := range []string{"101Gi", "1Pi", "7Ei"} {
		err := d.fits(resource.MustParse(size))
		if err == nil || !strings.Contains(err.Error(), size) || !strings.Contains(err.Error(), "has 100Gi") {
			t.Errorf("%s: %v", size, err)
		}
	}
}

func TestCreateLetsAnyUserWrite(t *testing.T) {
	d := testDirectory(t)
	path := mustCreate(t, d, "a")
	if err := os.Chmod(path, 0o700); err != nil { // as a process that was killed at the worst moment left it
		t.Fatal(err)
	}
	if again := mustCreate(t, d, "a"); again != path {
		t.Error(again)
	}
	for path, want := range map[string]fs.FileMode{path: 0o777, d.path: 0o700} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestRemoveRemovesAllAndOnlyThat(t *testing.T) {
	d, others := testDirectory(t), t.TempDir()
	path := mustCreate(t, d, "a")
	kept := mustCreate(t, d, "ab")
	for _, err := range []error{
		os.WriteFile(filepath.Join(others, "file"), nil, 0o600),
		os.Symlink(others, filepath.Join(path, "link")),
		os.Symlink("/", filepath.Join(path, "root")),
		os.MkdirAll(filepath.Join(path, "read", "only"), 0o755),
		os.WriteFile(filepath.Join(path, "read", "only", "odd\nname"), nil, 0o400),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time it is gone
		if err := d.remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if there(path) || !there(kept) || !there(filepath.Join(others, "file")) {
		t.Errorf("volume %v, neighbour %v, file of others %v", there(path), there(kept), there(filepath.Join(others, "file")))
	}
}

func TestRemoveOfALinkRemovesTheLink(t *testing.T) {
	d, others := testDirectory(t), t.TempDir()
	path := mustCreate(t, d, "a")
	if err := errors.Join(os.Remove(path), os.Symlink(others, path)); err != nil {
		t.Fatal(err)
	}
	if err := d.remove(path); err != nil {
		t.Fatal(err)
	}
	if there(path) || !there(others) {
		t.Error("the link is there, or what it leads to is not")
	}
}

func TestRemoveStopsAtMounts(t *testing.T) {
	d := testDirectory(t)
	path := mustCreate(t, d, "a")
	d.mounts = func() (map[string]struct{}, error) { return map[string]struct{}{path + "/disk": {}}, nil }
	err := d.remove(path)
	if err == nil || !strings.Contains(err.Error(), path+"/disk") || !there(path) {
		t.Errorf("error %v; there: %v", err, there(path))
	}
	d.mounts = func() (map[string]struct{}, error) { return map[string]struct{}{path + "b": {}, "/": {}}, nil }
	if err := d.remove(path); err != nil {
		t.Errorf("a mount elsewhere: %v", err)
	}
}

func TestRemoveKnowsPlacesOfBefore(t *testing.T) {
	old := testDirectory(t)
	path := mustCreate(t, old, "a")
	if err := testDirectory(t).remove(path); err != nil || there(path) {
		t.Errorf("error %v; there: %v", err, there(path))
	}
	foreign := filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := old.remove(foreign); err == nil || !there(foreign) {
		t.Errorf("a directory of others: error %v; there: %v", err, there(foreign))
	}
}

func TestMountPointsAreRead(t *testing.T) {
	points, err := mountPoints()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := points["/"]; !ok {
		t.Errorf("no root among %d mounts", len(points))
	}
	size, err := fileSystemSize(t.TempDir())
	if err != nil || size < 1<<20 {
		t.Errorf("size %d, %v", size, err)
	}
}
