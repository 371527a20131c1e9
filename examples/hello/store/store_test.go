package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
)

func TestConcurrentIncrementsAreKept(t *testing.T) {
	dir := t.TempDir()
	s, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := s.update("visits", func(old int64) int64 { return old + 1 }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	again, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.get("visits"); got != 50 {
		t.Errorf("read %d after 50 increments", got)
	}
}

func TestAnswerMeansOnDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.update("visits", func(int64) int64 { return 1 }); err == nil {
		t.Error("a value that could not be written was acknowledged")
	}
}

func TestCorruptFileIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/store.json", []byte("{torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(dir); err == nil || !strings.Contains(err.Error(), "store.json") {
		t.Errorf("a corrupt file gives %v", err)
	}
}

func TestHandler(t *testing.T) {
	s, err := open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler(s, "secret", log.New(io.Discard, "", 0)))
	defer server.Close()
	for _, step := range []struct {
		method, path, body, token string
		status                    int
		answer                    string
	}{
		{"GET", "/healthz", "", "", 200, "ok"},
		{"POST", "/keys/a/increment", "", "", 401, "token needed"},
		{"POST", "/keys/a/increment", "", "wrong", 401, "token needed"},
		{"POST", "/keys/a/increment", "", "secret", 200, `{"value":1}`},
		{"PUT", "/keys/a", "41", "secret", 200, `{"value":41}`},
		{"PUT", "/keys/a", "forty", "secret", 400, "want a whole number"},
		{"POST", "/keys/a/increment", "", "secret", 200, `{"value":42}`},
		{"GET", "/keys/a", "", "secret", 200, `{"value":42}`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), step.method, server.URL+step.path, strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+step.token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != step.status || strings.TrimSpace(string(body)) != step.answer {
			t.Errorf("%s %s %q: %d %q, want %d %q", step.method, step.path, step.body, resp.StatusCode, body, step.status, step.answer)
		}
	}
}

func TestSelfTest(t *testing.T) {
	if code := run(t.Context(), []string{"self-test"}, os.Getenv, io.Discard, io.Discard); code != 0 {
		t.Errorf("self-test exits with %d", code)
	}
}
