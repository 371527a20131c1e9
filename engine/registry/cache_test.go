package registry

import (
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestUseOfBlobsAndManifestsIsNoted(t *testing.T) {
	for path, want := range map[string]bool{
		"GET /docker.io/v2/library/x/blobs/":      true,
		"GET /docker.io/v2/library/x/manifests/":  true,
		"HEAD /docker.io/v2/library/x/manifests/": true,
		"DELETE /docker.io/v2/library/x/blobs/":   false,
	} {
		dir := t.TempDir()
		d := blobOf(t, dir, "content", 48*time.Hour)
		served := 0
		u := used{http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), dir}
		method, path, _ := strings.Cut(path, " ")
		request(t, u, method, path+d.String(), "")
		request(t, u, method, path+digest.FromString("what is not here").String(), "")
		info, err := os.Stat(blobFile(dir, d))
		if err != nil {
			t.Fatal(err)
		}
		if noted := time.Since(info.ModTime()) < time.Hour; noted != want || served != 2 {
			t.Errorf("%s %s: noted %v, want %v; passed on %d times", method, path, noted, want, served)
		}
	}
}

func TestReachable(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	if err := reachable(t.Context(), server.URL); err != nil {
		t.Errorf("one that asks for a password: %v", err)
	}
	server.Close()
	if reachable(t.Context(), server.URL) == nil {
		t.Error("one that is away is reachable")
	}
}

// TestTriesLeaveNothing: a registry may be away for weeks, and is tried at each pull.
func TestTriesLeaveNothing(t *testing.T) {
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	mux := http.NewServeMux()
	if err := (Cache{Name: "up.example", URL: away.URL}).serve(t.Context(), t.TempDir(), mux); err != nil {
		t.Fatal(err)
	}
	handler, _ := mux.Handler(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/up.example/v2/", nil))
	u, ok := handler.(used)
	if !ok {
		t.Fatalf("%T", handler)
	}
	s, ok := u.next.(*source)
	if !ok {
		t.Fatalf("%T", u.next)
	}
	before := runtime.NumGoroutine()
	const tries = 50
	for range tries {
		if _, err := s.open(); err == nil {
			t.Fatal("it is reached")
		}
	}
	if after := runtime.NumGoroutine(); after >= before+tries {
		t.Errorf("%d goroutines, %d after %d tries", before, after, tries)
	}
}
