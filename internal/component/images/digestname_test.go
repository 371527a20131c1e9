package images

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/containerd/platforms"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// rebuilt is the same image with another digest, as a build makes it in which nothing has changed.
func (f *fake) rebuilt(t *testing.T, image ocispec.Descriptor, provenance string) ocispec.Descriptor {
	t.Helper()
	image.Platform = new(platforms.DefaultSpec())
	index, err := json.Marshal(ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{image}, Annotations: map[string]string{"provenance": provenance},
	})
	must(t, err)
	return f.put(ocispec.MediaTypeImageIndex, index)
}

func TestAnImageOfPodsHasANameByDigest(t *testing.T) {
	const app, repository, other = "docker.io/library/app:1", "docker.io/library/app", "docker.io/library/other:1"
	f := newFake()
	image := f.manifest(t, "app")
	first, second := f.rebuilt(t, image, "first"), f.rebuilt(t, image, "second")
	byDigest := func(d ocispec.Descriptor) string { return repository + "@" + d.Digest.String() }
	f.tag(app, first, nil)
	f.tag(other, f.manifest(t, "other"), nil)
	pulled := f.manifest(t, "pulled")
	f.pulled(pulled.Digest, "docker.io", "library/pulled")
	f.tag("docker.io/library/pulled:1", pulled, nil)
	g := newGuard(t, f, t.TempDir(), app, "docker.io/library/pulled:1")
	want := []string{pause, app, byDigest(first), other, "docker.io/library/pulled:1"}
	slices.Sort(want)
	if got := f.names(); !slices.Equal(got, want) {
		t.Fatalf("images %q, want %q", got, want)
	}
	if got := f.labels(byDigest(first)); got[labelManaged] != managed {
		t.Errorf("labels %v", got)
	}
	writes := f.writes
	must(t, g.reconcile(t.Context()))
	if f.writes != writes {
		t.Error("a reconcile of what is as it should be writes")
	}

	f.tag(app, second, nil)
	must(t, g.changed(t.Context(), app))
	if names := f.names(); slices.Contains(names, byDigest(first)) || !slices.Contains(names, byDigest(second)) {
		t.Errorf("after a build that changed nothing: %q", names)
	}
	// While a tag has it, a digest is not of former times; nor is that of another image.
	f.tag(repository+":old", second, nil)
	f.tag(app, first, nil)
	must(t, g.changed(t.Context(), app))
	changed := f.manifest(t, "changed")
	f.untag(repository + ":old")
	f.tag(app, changed, nil)
	must(t, g.changed(t.Context(), app))
	for _, d := range []ocispec.Descriptor{first, second, changed} {
		if !slices.Contains(f.names(), byDigest(d)) {
			t.Errorf("%s is gone from %q", byDigest(d), f.names())
		}
	}
}
