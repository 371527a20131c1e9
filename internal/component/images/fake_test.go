package images

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fake is a containerd in memory.
type fake struct {
	mu     sync.Mutex
	now    func() time.Time
	images map[string]images.Image
	blobs  map[digest.Digest]blob
	leased map[string]bool // "content/sha256:..."
	loads  int
	onLoad func()
	writes int // of image records
}

type blob struct {
	data []byte
	info content.Info
}

func newFake() *fake {
	return &fake{now: time.Now, images: map[string]images.Image{}, blobs: map[digest.Digest]blob{}, leased: map[string]bool{}}
}

func (f *fake) store() store {
	return store{images: fakeImages{f}, content: f, leases: fakeLeases{f}, load: func(context.Context) error {
		f.loads++
		if f.onLoad != nil {
			f.onLoad()
		}
		return nil
	}}
}

// put adds a blob and gives its descriptor.
func (f *fake) put(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[d] = blob{data, content.Info{Digest: d, Size: int64(len(data)), CreatedAt: f.now(), Labels: map[string]string{}}}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

// manifest adds an image of one layer; text makes its digest.
func (f *fake) manifest(t *testing.T, text string) ocispec.Descriptor {
	t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    f.put(ocispec.MediaTypeImageConfig, []byte(`{"author":"`+text+`"}`)),
		Layers:    []ocispec.Descriptor{f.put(ocispec.MediaTypeImageLayer, []byte("layer "+text))},
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return f.put(ocispec.MediaTypeImageManifest, data)
}

// tag makes or moves an image's record.
func (f *fake) tag(name string, target ocispec.Descriptor, labels map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[name] = images.Image{Name: name, Target: target, Labels: maps.Clone(labels)}
}

func (f *fake) untag(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.images, name)
}

// pulled puts the label on a blob that a pull leaves.
func (f *fake) pulled(d digest.Digest, registry, repositories string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[d].info.Labels["containerd.io/distribution.source."+registry] = repositories
}

func (f *fake) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.images))
}

func (f *fake) labels(name string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.images[name].Labels
}

func (f *fake) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, ok := f.blobs[d]
	if !ok {
		return content.Info{}, fmt.Errorf("content %s: %w", d, errdefs.ErrNotFound)
	}
	return b.info, nil
}

func (f *fake) ReaderAt(ctx context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	if _, err := f.Info(ctx, desc.Digest); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return reader{bytes.NewReader(f.blobs[desc.Digest].data)}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

type fakeImages struct{ *fake }

func (f fakeImages) Get(_ context.Context, name string) (images.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	img, ok := f.images[name]
	if !ok {
		return images.Image{}, fmt.Errorf("image %s: %w", name, errdefs.ErrNotFound)
	}
	return img, nil
}

// List knows the one filter that is used.
func (f fakeImages) List(_ context.Context, filters ...string) ([]images.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []images.Image
	for _, img := range f.images {
		if len(filters) == 0 || strings.TrimPrefix(filters[0], "target.digest==") == img.Target.Digest.String() {
			list = append(list, img)
		}
	}
	return list, nil
}

func (f fakeImages) Create(_ context.Context, img images.Image) (images.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.images[img.Name]; ok {
		return images.Image{}, errdefs.ErrAlreadyExists
	}
	f.writes++
	f.images[img.Name] = img
	return img, nil
}

func (f fakeImages) Update(_ context.Context, img images.Image, fieldpaths ...string) (images.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, ok := f.images[img.Name]
	if !ok {
		return images.Image{}, errdefs.ErrNotFound
	}
	old.Labels = maps.Clone(old.Labels)
	if old.Labels == nil {
		old.Labels = map[string]string{}
	}
	for _, path := range fieldpaths {
		key := strings.TrimPrefix(path, "labels.")
		old.Labels[key] = img.Labels[key]
		if img.Labels[key] == "" {
			delete(old.Labels, key)
		}
	}
	f.writes++
	f.images[img.Name] = old
	return old, nil
}

func (f fakeImages) Delete(_ context.Context, name string, _ ...images.DeleteOpt) error {
	f.untag(name)
	return nil
}

type fakeLeases struct{ *fake }

func (f fakeLeases) Create(context.Context, ...leases.Opt) (leases.Lease, error) {
	return leases.Lease{}, errdefs.ErrAlreadyExists
}

func (f fakeLeases) AddResource(_ context.Context, _ leases.Lease, r leases.Resource) error {
	f.leased[r.Type+"/"+r.ID] = true
	return nil
}

func (f fakeLeases) DeleteResource(_ context.Context, _ leases.Lease, r leases.Resource) error {
	delete(f.leased, r.Type+"/"+r.ID)
	return nil
}

func (f fakeLeases) ListResources(context.Context, leases.Lease) ([]leases.Resource, error) {
	var list []leases.Resource
	for r := range f.leased {
		kind, id, _ := strings.Cut(r, "/")
		list = append(list, leases.Resource{Type: kind, ID: id})
	}
	return list, nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
