package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
)

// The faults.
const (
	hang        = "hang"         // a request gets no answer
	lieManifest = "lie-manifest" // a manifest is not the one of its digest
	lieBlob     = "lie-blob"     // nor is a blob
	tooMany     = "429"          // try again later
	broken      = "500"
	cutBlob     = "cut-blob" // each blob breaks off in its middle, the first time
	cutPush     = "cut-push" // the connection breaks while a blob is sent here
)

// faulty stands before a registry.
type faulty struct {
	next http.Handler

	mu   sync.Mutex
	kind string
	cut  map[string]bool // blobs that have broken off already
	log  bytes.Buffer
}

func newFaulty(next http.Handler) *faulty { return &faulty{next: next, cut: map[string]bool{}} }

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/_fault":
		f.mu.Lock()
		f.kind, f.cut = r.URL.Query().Get("kind"), map[string]bool{}
		f.mu.Unlock()
		return
	case "/_log":
		f.mu.Lock()
		defer f.mu.Unlock()
		_, _ = w.Write(f.log.Bytes())
		return
	}
	counted := &counter{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		fmt.Fprintf(&f.log, "%s %s %q %d %d\n", r.Method, r.URL.Path, r.Header.Get("Range"), counted.status, counted.sent)
	}()
	f.mu.Lock()
	kind := f.kind
	f.mu.Unlock()
	f.serve(kind, counted, r)
}

// closeRange gives an open range its end, as the registry behind wants it.
func (f *faulty) closeRange(r *http.Request) {
	open, found := strings.CutSuffix(r.Header.Get("Range"), "-")
	if !found {
		return
	}
	head := r.Clone(r.Context())
	head.Method = http.MethodHead
	head.Header.Del("Range")
	answer := httptest.NewRecorder()
	f.next.ServeHTTP(answer, head)
	if size, err := strconv.ParseInt(answer.Header().Get("Content-Length"), 10, 64); err == nil {
		r.Header.Set("Range", fmt.Sprintf("%s-%d", open, size-1))
	}
}

func (f *faulty) serve(kind string, w http.ResponseWriter, r *http.Request) {
	f.closeRange(r)
	blob := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:")
	manifest := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/")
	switch {
	case kind == hang:
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	case kind == tooMany:
		w.Header().Set("Retry-After", "1")
		http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}`, http.StatusTooManyRequests)
	case kind == broken:
		http.Error(w, `{"errors":[{"code":"UNKNOWN","message":"the registry is broken"}]}`, http.StatusInternalServerError)
	case kind == lieManifest && manifest, kind == lieBlob && blob:
		f.next.ServeHTTP(liar{w}, r)
	case kind == cutBlob && blob && f.firstTime(r.URL.Path):
		f.next.ServeHTTP(&cutter{ResponseWriter: w}, r)
	case kind == cutPush && (r.Method == http.MethodPatch || r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/uploads/")):
		_, _ = io.CopyN(io.Discard, r.Body, 1<<16)
		panic(http.ErrAbortHandler)
	default:
		f.next.ServeHTTP(w, r)
	}
}

func (f *faulty) firstTime(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.cut[path]
	f.cut[path] = true
	return !was
}

// counter remembers what was answered.
type counter struct {
	http.ResponseWriter
	status int
	sent   int64
}

func (c *counter) WriteHeader(status int) {
	c.status = status
	c.ResponseWriter.WriteHeader(status)
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.sent += int64(n)
	return n, err
}

// liar changes the first byte of what it writes.
type liar struct{ http.ResponseWriter }

func (l liar) Write(p []byte) (int, error) {
	changed := bytes.Clone(p)
	if len(changed) > 0 {
		changed[0] ^= 1
	}
	return l.ResponseWriter.Write(changed)
}

// cutter breaks the connection after a part of what was promised.
type cutter struct {
	http.ResponseWriter
	sent int
}

func (c *cutter) Write(p []byte) (int, error) {
	const most = 1 << 18
	if c.sent+len(p) > most {
		_, _ = c.ResponseWriter.Write(p[:max(0, min(len(p), most-c.sent))])
		if flusher, ok := c.ResponseWriter.(*counter).ResponseWriter.(http.Flusher); ok {
			flusher.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	n, err := c.ResponseWriter.Write(p)
	c.sent += n
	return n, err
}
