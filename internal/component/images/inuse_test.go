package images

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

func TestReadInUseNormalises(t *testing.T) {
	const sum = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	file := filepath.Join(t.TempDir(), "images-in-use.json")
	if got, err := readInUse(file); err != nil || got.names != nil || got.volumes != nil {
		t.Errorf("without the file: %v, %v", got, err)
	}
	must(t, os.WriteFile(file, []byte(`{"images":["hello","team/web:v1","localhost:5000/a","docker.io/library/hello:latest","Not A Name","x:1`+sum+`"],"volumes":["hello"]}`), 0o600))
	got, err := readInUse(file)
	must(t, err)
	want := inUse{volumes: []string{"docker.io/library/hello:latest"}}
	want.names = []string{"docker.io/library/hello:latest", "docker.io/library/x" + sum, "docker.io/team/web:v1", "localhost:5000/a:latest"}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(inUse{})); d != "" {
		t.Errorf("names (-want +got):\n%s", d)
	}
	must(t, os.WriteFile(file, []byte(`{"ima`), 0o600))
	if _, err := readInUse(file); err == nil {
		t.Error("no error for a torn file")
	}
}

func TestWatchFileSeesReplacements(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "images-in-use.json")
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() { done <- watchFile(ctx, file, changed) }()
	<-changed // the watch has begun
	for range 3 {
		must(t, atomicfile.Write(file, []byte("{}"), 0o600))
		<-changed
	}
	cancel()
	must(t, <-done)
}
