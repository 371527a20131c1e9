package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
)

func TestImages(t *testing.T) {
	got := images(client.ImagesDiskUsage{TotalSize: 1000, Items: []image.Summary{
		{RepoTags: []string{"used-by-a-container:1"}, Containers: 1, Size: 100},
		{RepoTags: []string{"used-by-a-pod"}, Size: 100},
		{RepoDigests: []string{"digest@sha256:" + digest}, Size: 100},
		{RepoTags: []string{"unused:1"}, Size: 300, SharedSize: 100},
		{Size: 50, SharedSize: -1},
	}}, []string{"docker.io/library/used-by-a-pod:latest", "docker.io/library/digest@sha256:" + digest})
	want := Use{Name: "images", Bytes: 1000, ReclaimableBytes: 250, Count: 5, Active: 3, Reclaim: "docker image prune --all"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "claim-1", "file")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, file+"-again"); err != nil {
		t.Fatal(err)
	}
	got, err := directories(dir)
	if err != nil || got.Count != 1 || got.Bytes < 1<<20 || got.Bytes > 1<<20+64<<10 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := directories(filepath.Join(dir, "none")); err != nil || got.Count != 0 {
		t.Errorf("of none: %+v, %v", got, err)
	}
	if bytes, err := size(filepath.Join(dir, "none")); err != nil || bytes != 0 {
		t.Errorf("of none: %d, %v", bytes, err)
	}
}
