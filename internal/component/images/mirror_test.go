package images

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func newMirror(t *testing.T, f *fake) *mirror {
	t.Helper()
	p, err := openProvenance(filepath.Join(t.TempDir(), "local.json"), time.Now)
	must(t, err)
	return &mirror{
		asked:  func() {},
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

func TestWhatTheRegistrySaysIsPassedOn(t *testing.T) {
	m := newMirror(t, newFake())
	var asked string
	m.ask = func(_ context.Context, image string) error {
		asked = image
		return errors.New("no route to host")
	}
	for path, image := range map[string]string{
		"/v2/library/none/manifests/latest?ns=docker.io":                       "docker.io/library/none:latest",
		"/v2/none/manifests/sha256:" + strings.Repeat("0", 64) + "?ns=ghcr.io": "ghcr.io/none@sha256:" + strings.Repeat("0", 64),
	} {
		resp := get(t, m, http.MethodGet, path)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusForbidden || !strings.Contains(string(body), "no route to host") || asked != image {
			t.Errorf("%d %s, asked for %s", resp.StatusCode, body, asked)
		}
	}
}

func TestAskRemembersForAMoment(t *testing.T) {
	now := time.Now()
	asked := 0
	a := newAsker(t.TempDir())
	a.clock = func() time.Time { return now }
	a.resolve = func(context.Context, string) error { asked++; return errors.New("refused") }
	for range 2 {
		if err := a.ask(t.Context(), "ghcr.io/a:1"); err == nil || !strings.Contains(err.Error(), "cannot be reached: refused") {
			t.Error(err)
		}
	}
	now = now.Add(time.Minute)
	_ = a.ask(t.Context(), "ghcr.io/a:1")
	_ = a.ask(t.Context(), "ghcr.io/b:1")
	if asked != 3 || len(a.found) != 2 {
		t.Errorf("asked %d times, remembers %d", asked, len(a.found))
	}
}

func TestAskTellsCredentialsFromTheRest(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string // "": containerd is to ask by itself
	}{
		"it is there":     {nil, ""},
		"it is not there": {errdefs.ErrNotFound, ""},
		"it takes time":   {context.DeadlineExceeded, "cannot be reached"}, // of a dial, while we still wait
		"credentials":     {docker.ErrInvalidAuthorization, "imagePullSecrets"},
		"a status for it": {remoteerrors.ErrUnexpectedStatus{StatusCode: 401}, "imagePullSecrets"},
		"another refusal": {errors.New("x509: unknown authority"), "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAsker(t.TempDir())
			a.resolve = func(context.Context, string) error { return test.err }
			err := a.ask(t.Context(), "ghcr.io/a:1")
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
