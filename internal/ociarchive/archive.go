package ociarchive

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

// Entry is a file, a directory (no content, a slash at the end) or a link in a layer.
type Entry struct {
	Name     string
	Mode     int64 // as in a tar header: setuid is 0o4000
	Content  []byte
	Link     string
	UID, GID int
}

// Layer is a tar archive, not compressed. Equal layers of several images are in the archive once.
type Layer []byte

// Archive is an OCI image layout under construction.
type Archive struct {
	platform ocispec.Platform
	created  time.Time
	blobs    map[digest.Digest][]byte
	index    ocispec.Index
}

// New makes an empty archive whose images are of one architecture, in Go's words, and bear one time.
func New(arch string, created time.Time) *Archive {
	l := &Archive{
		platform: ocispec.Platform{OS: "linux", Architecture: arch},
		created:  created.UTC(),
		blobs:    map[digest.Digest][]byte{},
	}
	l.index.Versioned = specs.Versioned{SchemaVersion: 2}
	l.index.MediaType = ocispec.MediaTypeImageIndex
	return l
}

// Add adds an image. name is a full reference with a tag.
func (l *Archive) Add(name string, config ocispec.ImageConfig, layers ...Layer) error {
	rootFS := ocispec.RootFS{Type: "layers"}
	descriptors := make([]ocispec.Descriptor, 0, len(layers))
	for _, layer := range layers {
		descriptor := l.blob(ocispec.MediaTypeImageLayer, layer)
		descriptors = append(descriptors, descriptor)
		rootFS.DiffIDs = append(rootFS.DiffIDs, descriptor.Digest)
	}
	configDescriptor, err := l.json(ocispec.MediaTypeImageConfig, ocispec.Image{
		Created:  &l.created,
		Platform: l.platform,
		Config:   config,
		RootFS:   rootFS,
		History:  slices.Repeat([]ocispec.History{{Created: &l.created, CreatedBy: "boxyard tools/images"}}, len(layers)),
	})
	if err != nil {
		return err
	}
	manifest, err := l.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    configDescriptor,
		Layers:    descriptors,
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

// Image is one image by itself, as a registry has it: the index that its tag stands for, and the rest by digest.
func (l *Archive) Image(config ocispec.ImageConfig, layers ...Layer) (index []byte, blobs map[digest.Digest][]byte, err error) {
	alone := New(l.platform.Architecture, l.created)
	if err := alone.Add("", config, layers...); err != nil {
		return nil, nil, err
	}
	alone.index.Manifests[0].Annotations = nil
	index, err = json.Marshal(alone.index)
	return index, alone.blobs, err
}

// Layer makes a layer of these entries, in this order.
func (l *Archive) Layer(entries []Entry) (Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		header := &tar.Header{
			Name: e.Name, Mode: e.Mode, Uid: e.UID, Gid: e.GID, ModTime: l.created,
			Format: tar.FormatPAX, Typeflag: tar.TypeReg, Size: int64(len(e.Content)),
		}
		switch {
		case e.Link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, e.Link, 0o777
		case strings.HasSuffix(e.Name, "/"):
			header.Typeflag = tar.TypeDir
		}
		if err := writeEntry(w, header, e.Content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func (l *Archive) json(mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	return l.blob(mediaType, data), nil
}

func (l *Archive) blob(mediaType string, data []byte) ocispec.Descriptor {
	sum := sha256.Sum256(data)
	d := digest.NewDigestFromBytes(digest.SHA256, sum[:])
	l.blobs[d] = data
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// WriteFile writes the archive.
func (l *Archive) WriteFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.write(f); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

func (l *Archive) write(out io.Writer) error {
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
		if err := writeEntry(w, header, files[name]); err != nil {
			return err
		}
	}
	return w.Close()
}

func writeEntry(w *tar.Writer, header *tar.Header, content []byte) error {
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
