package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// assets is a directory as the image's build makes it.
func assets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	page, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	var style bytes.Buffer
	zip := gzip.NewWriter(&style)
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"page.html":    bytes.ReplaceAll(page, []byte("@VERSION@"), []byte("v7")),
		"style.css.gz": style.Bytes(),
		"version":      []byte("v7\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testSettings(t *testing.T) settings {
	t.Helper()
	return settings{port: "0", admin: "127.0.0.1:0", greeting: "Hi <you>", assets: assets(t), motd: filepath.Join(t.TempDir(), "none")}
}

func start(t *testing.T, set settings, log io.Writer) (*site, *httptest.Server) {
	t.Helper()
	s, err := newSite(set, log)
	if err != nil {
		t.Fatal(err)
	}
	s.ready.Store(true)
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	return s, server
}

func fetch(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestPageShowsWhatItIsGiven(t *testing.T) {
	var log bytes.Buffer
	set := testSettings(t)
	set.logBytes = 1024
	set.motd = filepath.Join(t.TempDir(), "motd")
	if err := os.WriteFile(set.motd, []byte("Open on Sundays\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, server := start(t, set, &log)
	resp, body := fetch(t, server.URL+"/")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET /: %s", resp.Status)
	}
	for _, want := range []string{"Hi &lt;you&gt;", "Open on Sundays", `id="count">1<`, "v7"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
	_, body = fetch(t, server.URL+"/api/hello")
	var got view
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got.Count != 2 || got.Version != "v7" || got.Host == "" {
		t.Errorf("/api/hello says %+v", got)
	}
	server.Close()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "GET / 200") || len(lines[0]) < 1024 {
		t.Errorf("want two log lines of at least 1024 bytes, the first of GET / 200; got:\n%s", log.String())
	}
}

func TestPageWithoutStore(t *testing.T) {
	s, server := start(t, testSettings(t), io.Discard)
	s.counter = failing{}
	resp, body := fetch(t, server.URL+"/")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, "The counter is away") {
		t.Errorf("with the store away: %s\n%s", resp.Status, body)
	}
}

type failing struct{}

func (failing) next(context.Context) (int64, error) { return 0, errors.New("away") }

func TestStoreCounter(t *testing.T) {
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/keys/visits/increment" || r.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"value":12}`)
	}))
	defer store.Close()
	count, err := newCounter(store.URL, "secret").next(t.Context())
	if err != nil || count != 12 {
		t.Errorf("got %d, %v; want 12", count, err)
	}
	if _, err := newCounter(store.URL, "wrong").next(t.Context()); err == nil {
		t.Error("a refused token went unnoticed")
	}
}

func TestControl(t *testing.T) {
	s, server := start(t, testSettings(t), io.Discard)
	admin := httptest.NewServer(s.adminHandler())
	defer admin.Close()
	ctl := func(verb string) error {
		return control(t.Context(), strings.TrimPrefix(admin.URL, "http://"), verb, io.Discard)
	}
	for _, step := range []struct {
		verb string
		want int
	}{{"unready", http.StatusServiceUnavailable}, {"ready", http.StatusOK}} {
		if err := ctl(step.verb); err != nil {
			t.Fatal(err)
		}
		if resp, _ := fetch(t, server.URL+"/readyz"); resp.StatusCode != step.want {
			t.Errorf("after ctl %s: /readyz says %s", step.verb, resp.Status)
		}
	}
	if err := ctl("dance"); err == nil || !strings.Contains(err.Error(), `unknown verb "dance"`) {
		t.Errorf("an unknown verb gives %v", err)
	}
	if err := ctl("hang"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := get(ctx, server.URL+"/healthz"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hung server answers the liveness probe: %v", err)
	}
}

func TestDrainServesAndMovesClientsAway(t *testing.T) {
	var log bytes.Buffer
	s, server := start(t, testSettings(t), &log)
	if resp, _ := fetch(t, server.URL+"/api/hello"); resp.Close {
		t.Fatal("the connection is closed before the drain")
	}
	ended := make(chan error, 1)
	go func() { ended <- s.drain(server.Config, 300*time.Millisecond) }()
	for !s.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	resp, _ := fetch(t, server.URL+"/api/hello")
	if resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("while draining: %s, close %v; want 200 and close", resp.Status, resp.Close)
	}
	if resp, _ := fetch(t, server.URL+"/readyz"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("while draining /readyz says %s", resp.Status)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "goodbye: served 2 requests") {
		t.Errorf("no farewell in the log:\n%s", log.String())
	}
}

func TestSelfTest(t *testing.T) {
	set := testSettings(t)
	var out bytes.Buffer
	if err := selfTest(set, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "version v7") {
		t.Errorf("self-test says %q", out.String())
	}
	if err := os.WriteFile(filepath.Join(set.assets, "page.html"), []byte("{{.Greeting}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := selfTest(set, &out); err == nil {
		t.Error("a page without the version passes the self-test")
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for key, value := range map[string]string{"DRAIN": "soon", "LOG_BYTES": "-1"} {
		var stderr bytes.Buffer
		code := run(t.Context(), nil, func(k string) string {
			if k == key {
				return value
			}
			return ""
		}, io.Discard, &stderr)
		if code != 1 || !strings.Contains(stderr.String(), key) {
			t.Errorf("%s=%s: exit %d, %q", key, value, code, stderr.String())
		}
	}
}
