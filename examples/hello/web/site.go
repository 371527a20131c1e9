package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// site is the application: what the page shows and whether it wants traffic.
type site struct {
	page          *template.Template
	style         []byte // gzipped
	version, host string
	greeting      string
	motdFile      string
	counter       counter
	log           *log.Logger
	logBytes      int

	ready, draining, hung atomic.Bool
	served                atomic.Int64
}

// counter counts visits. Its error does not stop the page: the number is left out.
type counter interface {
	next(ctx context.Context) (int64, error)
}

// view is what the page and /api/hello show.
type view struct {
	Greeting string `json:"greeting"`
	Version  string `json:"version"`
	Host     string `json:"host"`
	Motd     string `json:"motd,omitempty"`
	Count    int64  `json:"count"` // 0: the store cannot be reached
}

func newSite(set settings, stdout io.Writer) (*site, error) {
	page, err := template.ParseFiles(filepath.Join(set.assets, "page.html"))
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	style, err := os.ReadFile(filepath.Join(set.assets, "style.css.gz"))
	if err != nil {
		return nil, fmt.Errorf("read the style sheet: %w", err)
	}
	version, err := os.ReadFile(filepath.Join(set.assets, "version"))
	if err != nil {
		return nil, fmt.Errorf("read the version: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	return &site{
		page:     page,
		style:    style,
		version:  strings.TrimSpace(string(version)),
		host:     host,
		greeting: set.greeting,
		motdFile: set.motd,
		counter:  newCounter(set.storeURL, set.storeToken),
		log:      log.New(stdout, "", log.LstdFlags|log.Lmicroseconds|log.LUTC),
		logBytes: set.logBytes,
	}, nil
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /{$}", s.logged(s.servePage))
	mux.Handle("GET /api/hello", s.logged(s.serveJSON))
	mux.Handle("GET /style.css", s.logged(s.serveStyle))
	mux.Handle("/", s.logged(http.NotFound))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *site) servePage(w http.ResponseWriter, r *http.Request) {
	var out bytes.Buffer
	if err := s.page.Execute(&out, s.view(r.Context())); err != nil {
		http.Error(w, "the page cannot be rendered", http.StatusInternalServerError)
		s.logf("render the page: %v", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(out.Bytes())
}

func (s *site) serveJSON(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.view(r.Context()))
}

func (s *site) serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css")
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(s.style)
}

func (s *site) view(ctx context.Context) view {
	v := view{Greeting: s.greeting, Version: s.version, Host: s.host}
	if motd, err := os.ReadFile(s.motdFile); err == nil {
		v.Motd = strings.TrimSpace(string(motd))
	}
	count, err := s.counter.next(ctx)
	if err != nil {
		s.logf("count: %v", err)
		return v
	}
	v.Count = count
	return v
}

// healthz is for liveness: it answers unless the server hangs, whatever the store does.
func (s *site) healthz(w http.ResponseWriter, r *http.Request) {
	if s.hung.Load() {
		<-r.Context().Done()
		return
	}
	fmt.Fprintln(w, "ok")
}

// readyz is for readiness: whether new requests should come here.
func (s *site) readyz(w http.ResponseWriter, _ *http.Request) {
	if !s.ready.Load() || s.draining.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// logged counts the request and writes one line for it.
func (s *site) logged(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		next(recorder, r)
		s.served.Add(1)
		client, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			client = r.RemoteAddr
		}
		s.logf("%s %s %s %d %v", client, r.Method, r.URL.Path, recorder.status, time.Since(start).Round(time.Microsecond))
	})
}

func (s *site) logf(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if missing := s.logBytes - len(line); missing > 0 {
		line += " " + strings.Repeat(".", missing)
	}
	s.log.Print(line)
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (r *statusRecorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}
