package registry

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// pusher pushes to one repository of a registry, and asks it.
type pusher struct {
	t    *testing.T
	h    http.Handler
	repo string
}

func (p pusher) send(method, path, kind, body string) *http.Response {
	p.t.Helper()
	r := httptest.NewRequestWithContext(p.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", ocispec.MediaTypeImageManifest+", "+ocispec.MediaTypeImageIndex)
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, r)
	return w.Result()
}

func (p pusher) blob(content string) {
	p.t.Helper()
	_, where, found := strings.Cut(p.send(http.MethodPost, "/v2/"+p.repo+"/blobs/uploads/", "", "").Header.Get("Location"), "/v2/")
	where = "/v2/" + where + "&digest=" + digest.FromString(content).String()
	if got := p.send(http.MethodPut, where, "application/octet-stream", content).StatusCode; !found || got != http.StatusCreated {
		p.t.Fatalf("push a blob to %s: status %d", where, got)
	}
}

// put pushes a manifest by a tag, or, with "", by its digest.
func (p pusher) put(tag, kind, m string) ocispec.Descriptor {
	p.t.Helper()
	d := ocispec.Descriptor{MediaType: kind, Digest: digest.FromString(m), Size: int64(len(m))}
	if tag == "" {
		tag = d.Digest.String()
	}
	if got := p.send(http.MethodPut, "/v2/"+p.repo+"/manifests/"+tag, kind, m).StatusCode; got != http.StatusCreated {
		p.t.Fatalf("push %s: status %d\n%s", tag, got, m)
	}
	return d
}

// image pushes one with a config and a layer of its own; rest is added to its manifest.
func (p pusher) image(tag, name, rest string) ocispec.Descriptor {
	p.t.Helper()
	config, layer := fmt.Sprintf(`{"name":%q}`, name), "the layer of "+name
	p.blob(config)
	p.blob(layer)
	return p.put(tag, ocispec.MediaTypeImageManifest, fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]%s}`,
		ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageConfig, digest.FromString(config), len(config),
		ocispec.MediaTypeImageLayer, digest.FromString(layer), len(layer), rest))
}

func (p pusher) referrer(name string, of ocispec.Descriptor) ocispec.Descriptor {
	p.t.Helper()
	return p.image("", name, fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":%d}`, of.MediaType, of.Digest, of.Size))
}

func (p pusher) has(d ocispec.Descriptor) bool {
	return p.send(http.MethodGet, "/v2/"+p.repo+"/manifests/"+d.Digest.String(), "", "").StatusCode == http.StatusOK
}

func TestPruneTakesOnlyWhatNoTagLeadsTo(t *testing.T) {
	dir := t.TempDir()
	h, err := registry(t.Context(), dir, "")
	if err != nil {
		t.Fatal(err)
	}
	p := pusher{t, h, "team/app"}
	old := p.image("1", "old", "")
	oldSignature := p.referrer("signature of old", old)
	tagged := p.image("1", "new", "")
	signature := p.referrer("signature", tagged)
	ofSignature := p.referrer("signature of the signature", signature)
	platform := p.image("", "platform", "")
	ofPlatform := p.referrer("signature of the platform", platform)
	never := digest.FromString("a platform that was never pushed")
	index := p.put("all", ocispec.MediaTypeImageIndex, fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d},{"mediaType":%q,"digest":%q,"size":9}]}`,
		ocispec.MediaTypeImageIndex, platform.MediaType, platform.Digest, platform.Size, ocispec.MediaTypeImageManifest, never))
	all := map[string]ocispec.Descriptor{
		"the image that a tag has left": old, "its signature": oldSignature, "the tagged image": tagged, "the signature": signature,
		"the signature's signature": ofSignature, "the index": index, "its platform": platform, "the platform's signature": ofPlatform,
	}
	for what, d := range all {
		if !p.has(d) {
			t.Fatalf("%s is not there before", what)
		}
	}
	for range 2 { // the second time there is nothing to do
		if err := prune(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
	}
	for what, d := range all {
		if want := d.Digest != old.Digest && d.Digest != oldSignature.Digest; p.has(d) != want {
			t.Errorf("%s: there %v, want %v", what, p.has(d), want)
		}
	}
	for content, want := range map[string]bool{"the layer of old": false, "the layer of signature of old": false, "the layer of new": true, "the layer of signature": true} {
		_, err := os.Stat(blobFile(dir, digest.FromString(content)))
		if there := err == nil; there != want {
			t.Errorf("%s: there %v, want %v", content, there, want)
		}
	}
	if got := listed(t, h, "/v2/team/app/referrers/"+tagged.Digest.String()); !strings.Contains(got, signature.Digest.String()) {
		t.Errorf("referrers of the image: %s", got)
	}
	if got := listed(t, h, "/v2/team/app/referrers/"+old.Digest.String()); !strings.Contains(got, `"manifests":[]`) {
		t.Errorf("referrers of what is gone: %s", got)
	}
}

func TestPruneOfNothing(t *testing.T) {
	dir := t.TempDir()
	if err := prune(t.Context(), dir); err != nil {
		t.Error(err)
	}
	if entries, err := fs.ReadDir(os.DirFS(dir), "."); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
}

// TestPruneOfHalves: what a client has left halfway, and what has no layers.
func TestPruneOfHalves(t *testing.T) {
	const emptyIndex = `{"schemaVersion":2,"mediaType":"` + ocispec.MediaTypeImageIndex + `","manifests":[]}`
	for name, push := range map[string]func(p pusher){
		"an upload that was begun": func(p pusher) { p.send(http.MethodPost, "/v2/"+p.repo+"/blobs/uploads/", "", "") },
		"a blob alone":             func(p pusher) { p.blob("alone") },
		"an index of nothing":      func(p pusher) { p.put("1", ocispec.MediaTypeImageIndex, emptyIndex) },
		"no tag at all":            func(p pusher) { p.image("", "untagged", "") },
		"a tag that was deleted": func(p pusher) {
			d := p.image("1", "deleted", "")
			p.send(http.MethodDelete, "/v2/"+p.repo+"/manifests/"+d.Digest.String(), "", "")
		},
	} {
		for _, others := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, others %v", name, others), func(t *testing.T) {
				dir := t.TempDir()
				h, err := registry(t.Context(), dir, "")
				if err != nil {
					t.Fatal(err)
				}
				other := pusher{t, h, "other"}
				var kept ocispec.Descriptor
				if others {
					kept = other.image("1", "kept", "")
				}
				push(pusher{t, h, "half"})
				for range 2 {
					if err := prune(t.Context(), dir); err != nil {
						t.Fatal(err)
					}
				}
				if others && !other.has(kept) {
					t.Error("what another repository has is gone")
				}
			})
		}
	}
}
