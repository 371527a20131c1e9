package images

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func newMirror(t *testing.T, f *fake) *mirror {
	t.Helper()
	p, err := openProvenance(filepath.Join(t.TempDir(), "local.json"), time.Now)
	must(t, err)
	return &mirror{
		images: fakeImages{f}, content: f, provenance: p, log: quiet(),
		pending: func(string) (ocispec.Descriptor, bool) { return ocispec.Descriptor{}, false },
	}
}

func get(t *testing.T, h http.Handler, method, target string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, nil))
	return w.Result()
}

func TestMirrorAnswersForWhatWasMadeHere(t *testing.T) {
	f := newFake()
	m := newMirror(t, f)
	target := f.manifest(t, "hello")
	f.tag(hello, target, nil)

	head := get(t, m, http.MethodHead, "/v2/library/hello/manifests/latest?ns=docker.io")
	if head.StatusCode != 200 || head.Header.Get("Docker-Content-Digest") != target.Digest.String() ||
		head.Header.Get("Content-Type") != ocispec.MediaTypeImageManifest || head.ContentLength != target.Size {
		t.Errorf("HEAD: %d %v", head.StatusCode, head.Header)
	}
	for _, path := range []string{
		"/v2/library/hello/manifests/latest",
		"/v2/library/hello/manifests/" + target.Digest.String(),
		"/v2/library/hello/blobs/" + target.Digest.String(),
	} {
		resp := get(t, m, http.MethodGet, path+"?ns=docker.io")
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || string(body) != string(f.blobs[target.Digest].data) {
			t.Errorf("%s: %d %q", path, resp.StatusCode, body)
		}
	}
	layer := f.put(ocispec.MediaTypeImageLayer, []byte("layer hello"))
	if resp := get(t, m, http.MethodGet, "/v2/library/hello/blobs/"+layer.Digest.String()+"?ns=docker.io"); resp.StatusCode != 200 {
		t.Errorf("layer: %d", resp.StatusCode)
	}
	if resp := get(t, m, http.MethodGet, "/v2/?ns=docker.io"); resp.StatusCode != 200 {
		t.Errorf("/v2/: %d", resp.StatusCode)
	}
}

func TestMirrorSendsOnForTheRest(t *testing.T) {
	f := newFake()
	m := newMirror(t, f)
	pulled, local := f.manifest(t, "nginx"), f.manifest(t, "hello")
	f.tag("docker.io/library/nginx:latest", pulled, nil)
	f.tag("registry.example:5000/team/nginx:latest", pulled, nil)
	f.pulled(pulled.Digest, "docker.io", "library/alpine,library/nginx")
	f.pulled(pulled.Digest, "registry.example", "team/nginx")
	f.tag(hello, local, nil)
	f.tag("docker.io/library/gone:latest", ocispec.Descriptor{Digest: "sha256:" + ocispec.DescriptorEmptyJSON.Digest[7:]}, nil)

	for _, target := range []string{
		"/v2/library/nginx/manifests/latest?ns=docker.io",
		"/v2/team/nginx/manifests/latest?ns=registry.example:5000",
		"/v2/library/nginx/blobs/" + pulled.Digest.String() + "?ns=docker.io",
		"/v2/library/hello/blobs/" + pulled.Digest.String() + "?ns=docker.io",
		"/v2/library/gone/manifests/latest?ns=docker.io",
		"/v2/library/none/manifests/latest?ns=docker.io",
		"/v2/library/hello/manifests/v2?ns=docker.io",
		"/v2/library/hello/manifests/latest?ns=ghcr.io",
		"/v2/library/hello/manifests/latest",
		"/v2/library/hello/manifests/..?ns=docker.io",
		"/v2/Bad%20Name/manifests/latest?ns=docker.io",
		"/v2/library/hello/tags/list?ns=docker.io",
		"/other",
	} {
		if resp := get(t, m, http.MethodGet, target); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", target, resp.StatusCode)
		}
	}
	if resp := get(t, m, http.MethodPut, "/v2/library/hello/manifests/latest?ns=docker.io"); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", resp.StatusCode)
	}
	if resp := get(t, &switchable{}, http.MethodGet, "/v2/library/hello/manifests/latest?ns=docker.io"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without containerd: %d", resp.StatusCode)
	}
}

func TestPulledImageUnderANameOfOursIsLocal(t *testing.T) {
	f := newFake()
	m := newMirror(t, f)
	target := f.manifest(t, "nginx")
	f.pulled(target.Digest, "docker.io", "library/nginx")
	f.tag("docker.io/library/mine:latest", target, nil)
	if resp := get(t, m, http.MethodHead, "/v2/library/mine/manifests/latest?ns=docker.io"); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestMirrorServesAnImageThatIsBeingRestored(t *testing.T) {
	f := newFake()
	m := newMirror(t, f)
	target := f.manifest(t, "hello")
	m.pending = func(name string) (ocispec.Descriptor, bool) { return target, name == hello }
	if resp := get(t, m, http.MethodHead, "/v2/library/hello/manifests/latest?ns=docker.io"); resp.StatusCode != 200 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestUnreachableRegistryIsSaid(t *testing.T) {
	m := newMirror(t, newFake())
	var asked string
	m.reach = func(_ context.Context, registry string) error {
		asked = registry
		return errors.New("no route to host")
	}
	resp := get(t, m, http.MethodGet, "/v2/library/none/manifests/latest?ns=docker.io")
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "no route to host") || asked != "docker.io" {
		t.Errorf("%d %s, asked for %s", resp.StatusCode, body, asked)
	}
}

func TestReachRemembersForAMoment(t *testing.T) {
	now := time.Now()
	var dialled []string
	r := newReacher()
	r.clock = func() time.Time { return now }
	r.dial = func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return nil, errors.New("refused")
	}
	for range 2 {
		if r.reach(t.Context(), "docker.io") == nil {
			t.Error("no error")
		}
	}
	now = now.Add(time.Minute)
	_ = r.reach(t.Context(), "docker.io")
	_ = r.reach(t.Context(), "ghcr.io")
	_ = r.reach(t.Context(), "registry.example:5000")
	want := "registry-1.docker.io:443 registry-1.docker.io:443 ghcr.io:443 registry.example:5000"
	if got := strings.Join(dialled, " "); got != want {
		t.Errorf("dialled %s", got)
	}
}
