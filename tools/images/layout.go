package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// nameAnnotation is the full reference that containerd gives an imported image.
const nameAnnotation = "io.containerd.image.name"

// layout is an OCI image layout under construction.
type layout struct {
	platform ocispec.Platform
	created  time.Time
	blobs    map[digest.Digest][]byte
	index    ocispec.Index
}

func newLayout(arch string, created time.Time) *layout {
	l := &layout{
		platform: ocispec.Platform{OS: "linux", Architecture: arch},
		created:  created.UTC(),
		blobs:    map[digest.Digest][]byte{},
	}
	l.index.Versioned = specs.Versioned{SchemaVersion: 2}
	l.index.MediaType = ocispec.MediaTypeImageIndex
	return l
}

// add adds an image of one layer. The layer is not compressed: the payload is.
func (l *layout) add(name string, entries []entry, config ocispec.ImageConfig) error {
	layer, err := l.layer(entries)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	layerDescriptor := l.blob(ocispec.MediaTypeImageLayer, layer)
	configDescriptor, err := l.json(ocispec.MediaTypeImageConfig, ocispec.Image{
		Created:  &l.created,
		Platform: l.platform,
		Config:   config,
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{layerDescriptor.Digest}},
		History:  []ocispec.History{{Created: &l.created, CreatedBy: "boxyard tools/images"}},
	})
	if err != nil {
		return err
	}
	manifest, err := l.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    configDescriptor,
		Layers:    []ocispec.Descriptor{layerDescriptor},
	})
	if err != nil {
		return err
	}
	manifest.Platform = &l.platform
	manifest.Annotations = map[string]string{
		nameAnnotation:            name,
		ocispec.AnnotationRefName: name[strings.LastIndex(name, ":")+1:],
	}
	l.index.Manifests = append(l.index.Manifests, manifest)
	return nil
}

func (l *layout) layer(entries []entry) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		header := &tar.Header{Name: e.name, Mode: e.mode, ModTime: l.created, Format: tar.FormatPAX, Typeflag: tar.TypeReg, Size: int64(len(e.content))}
		switch {
		case e.link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.link, 0o777
		case strings.HasSuffix(e.name, "/"):
			header.Typeflag = tar.TypeDir
		}
		if err := write(w, header, e.content); err != nil {
			return nil, err
		}
	}
	return buf.Bytes(), w.Close()
}

func (l *layout) json(mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	return l.blob(mediaType, data), nil
}

func (l *layout) blob(mediaType string, data []byte) ocispec.Descriptor {
	sum := sha256.Sum256(data)
	d := digest.NewDigestFromBytes(digest.SHA256, sum[:])
	l.blobs[d] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// writeFile writes the layout as a tar archive.
func (l *layout) writeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.writeTo(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

func (l *layout) writeTo(out io.Writer) error {
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	index, err := json.Marshal(l.index)
	if err != nil {
		return err
	}
	files := map[string][]byte{ocispec.ImageLayoutFile: version, ocispec.ImageIndexFile: index}
	for d, data := range l.blobs {
		files["blobs/"+d.Algorithm().String()+"/"+d.Encoded()] = data
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)

	w := tar.NewWriter(out)
	for _, name := range names {
		header := &tar.Header{Name: name, Mode: 0o644, ModTime: l.created, Format: tar.FormatPAX, Typeflag: tar.TypeReg, Size: int64(len(files[name]))}
		if err := write(w, header, files[name]); err != nil {
			return err
		}
	}
	return w.Close()
}

func write(w *tar.Writer, header *tar.Header, content []byte) error {
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
