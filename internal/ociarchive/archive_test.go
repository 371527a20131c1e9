package ociarchive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func twoImages(t *testing.T) *Archive {
	t.Helper()
	archive := New("amd64", time.Unix(1_700_000_000, 0))
	shared, err := archive.Layer([]Entry{{Name: "bin/", Mode: 0o755}, {Name: "bin/a", Mode: 0o4755, Content: []byte("a")}, {Name: "bin/b", Link: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"example.com/one:1", "example.com/two:2"} {
		own, err := archive.Layer([]Entry{{Name: "name", Mode: 0o644, Content: []byte(name)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := archive.Add(name, ocispec.ImageConfig{Cmd: []string{"a"}}, shared, own); err != nil {
			t.Fatal(err)
		}
	}
	return archive
}

func TestSameInputSameBytes(t *testing.T) {
	dir := t.TempDir()
	var files [2][]byte
	for i := range files {
		path := filepath.Join(dir, "sub", string(rune('a'+i)))
		if err := twoImages(t).WriteFile(path); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two archives of the same differ")
	}
	names := map[string]int{}
	for r := tar.NewReader(bytes.NewReader(files[0])); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names[header.Name]++
	}
	// Two files of the layout; for each image a manifest, a configuration and a layer; a shared layer.
	if len(names) != 9 || names["index.json"] != 1 || names["oci-layout"] != 1 {
		t.Errorf("the archive has %v", names)
	}
}

func TestLayerKeepsModesAndLinks(t *testing.T) {
	layer, err := New("amd64", time.Unix(0, 0)).Layer([]Entry{{Name: "su", Mode: 0o4755, UID: 3, Content: []byte("x")}, {Name: "ln", Link: "su"}})
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(bytes.NewReader(layer))
	file, err := r.Next()
	if err != nil || file.Mode != 0o4755 || file.Uid != 3 {
		t.Errorf("got %+v, %v", file, err)
	}
	link, err := r.Next()
	if err != nil || link.Typeflag != tar.TypeSymlink || link.Linkname != "su" {
		t.Errorf("got %+v, %v", link, err)
	}
}

func TestImageHasAllThatItsIndexNames(t *testing.T) {
	archive := New("amd64", time.Unix(0, 0))
	layer, err := archive.Layer([]Entry{{Name: "x", Content: []byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	data, blobs, err := archive.Image(ocispec.ImageConfig{}, layer)
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(blobs[index.Manifests[0].Digest], &manifest); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		if digest.FromBytes(blobs[d.Digest]) != d.Digest {
			t.Errorf("no content for %s", d.Digest)
		}
	}
}
