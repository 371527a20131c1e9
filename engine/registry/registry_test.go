package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// TestConfigIsWhatTheDaemonWrites: its own test has the same file.
func TestConfigIsWhatTheDaemonWrites(t *testing.T) {
	c, err := load("../../internal/component/registry/testdata/registry.json")
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 5000 || len(c.Caches) != 1 || c.Caches[0].Name != "docker.io" || c.Caches[0].Password != "secret" {
		t.Errorf("%+v", c)
	}
}

func blobOf(t *testing.T, dir, content string, age time.Duration) digest.Digest {
	t.Helper()
	d := digest.FromString(content)
	file := blobFile(dir, d)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	when := time.Now().Add(-age)
	if err := os.Chtimes(file, when, when); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSweepTakesWhatWasNotUsedForLongest(t *testing.T) {
	dir := t.TempDir()
	oldest := blobOf(t, dir, strings.Repeat("a", 100), 3*time.Hour)
	second := blobOf(t, dir, strings.Repeat("b", 100), 2*time.Hour)
	blobOf(t, dir, strings.Repeat("c", 100), time.Hour)
	blobOf(t, dir, strings.Repeat("d", 100), 0)
	var removed []digest.Digest
	remove := func(d digest.Digest) error {
		removed = append(removed, d)
		return os.RemoveAll(filepath.Dir(blobFile(dir, d)))
	}
	if err := sweep(dir, 400, remove); err != nil || len(removed) > 0 {
		t.Errorf("within the limit %v were removed, %v", removed, err)
	}
	if err := sweep(dir, 250, remove); err != nil || len(removed) != 2 || removed[0] != oldest || removed[1] != second {
		t.Errorf("%v were removed, %v", removed, err)
	}
	if err := sweep(dir, 0, remove); err != nil || len(removed) != 3 {
		t.Errorf("what is being used was removed, too: %v, %v", removed, err)
	}
	if err := sweep(filepath.Join(dir, "none"), 1, remove); err != nil {
		t.Errorf("a cache that has nothing: %v", err)
	}
	failing := errors.New("busy")
	blobOf(t, dir, strings.Repeat("e", 100), time.Hour)
	if err := sweep(dir, 0, func(digest.Digest) error { return failing }); !errors.Is(err, failing) {
		t.Errorf("%v, want %v", err, failing)
	}
}

// pushed answers like a registry that takes everything.
func taking(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPut:
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		w.WriteHeader(http.StatusAccepted)
	}
}

func request(t *testing.T, h http.Handler, method, path, body string) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(body)))
	return w.Result()
}

func listed(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	answer := request(t, h, http.MethodGet, path, "")
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v", path, answer.StatusCode, err)
	}
	return string(body)
}

func TestReferrersAreListedByTheirSubject(t *testing.T) {
	h := newReferrers(http.HandlerFunc(taking), t.TempDir())
	subject := digest.FromString("subject").String()
	manifest := func(kind string) string {
		return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":%q,"subject":{"digest":%q}}`, kind, subject)
	}
	signature, sbom := manifest("signature"), manifest("sbom")
	for _, m := range []string{signature, sbom} {
		if got := request(t, h, http.MethodPut, "/v2/a/b/manifests/"+digest.FromString(m).String(), m).Header.Get("OCI-Subject"); got != subject {
			t.Errorf("OCI-Subject is %q", got)
		}
	}
	all := listed(t, h, "/v2/a/b/referrers/"+subject)
	if !strings.Contains(all, digest.FromString(signature).String()) || !strings.Contains(all, digest.FromString(sbom).String()) {
		t.Errorf("listed are %s", all)
	}
	if some := listed(t, h, "/v2/a/b/referrers/"+subject+"?artifactType=sbom"); strings.Contains(some, "signature") || !strings.Contains(some, "sbom") {
		t.Errorf("of the type sbom are %s", some)
	}
	if other := listed(t, h, "/v2/a/referrers/"+subject); !strings.Contains(other, `"manifests":[]`) {
		t.Errorf("in another repository are %s", other)
	}
	request(t, h, http.MethodDelete, "/v2/a/b/manifests/"+digest.FromString(sbom).String(), "")
	if left := listed(t, h, "/v2/a/b/referrers/"+subject); strings.Contains(left, "sbom") || !strings.Contains(left, "signature") {
		t.Errorf("after one is deleted there are %s", left)
	}
	if code := request(t, h, http.MethodGet, "/v2/a/b/referrers/latest", "").StatusCode; code != http.StatusBadRequest {
		t.Errorf("no digest: status %d", code)
	}
}

func TestReferrersAreForThoseWhoMayPull(t *testing.T) {
	closed := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	})
	answer := request(t, newReferrers(closed, t.TempDir()), http.MethodGet, "/v2/a/referrers/"+digest.FromString("x").String(), "")
	if answer.StatusCode != http.StatusUnauthorized || answer.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("status %d, %v", answer.StatusCode, answer.Header)
	}
}

func TestACacheAnswersWithWhatItHasWhileItsRegistryIsAway(t *testing.T) {
	answer := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	tries, away := 0, errors.New("no route to host")
	s := &source{kept: answer("kept"), open: func() (http.Handler, error) {
		tries++
		return answer("all"), away
	}}
	for range 3 {
		if got := listed(t, s, "/"); got != "kept" {
			t.Errorf("away, it answers with %s", got)
		}
	}
	away = nil
	if tries != 1 || listed(t, s, "/") != "kept" {
		t.Errorf("asked %d times at once", tries)
	}
	s.tried = s.tried.Add(-retryAfter)
	for range 3 {
		if got := listed(t, s, "/"); got != "all" {
			t.Errorf("back, it answers with %s", got)
		}
	}
	if tries != 2 {
		t.Errorf("asked %d times", tries)
	}
}
