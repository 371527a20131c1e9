package controlapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/boxyard/boxyard/internal/disk"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/registry"
)

// Backend is what the server gives access to: the daemon, or a fake in tests. Down and Restart
// go on when ctx, the request's, ends before them.
type Backend interface {
	Informant
	// Down returns when everything has stopped.
	Down(ctx context.Context, r DownRequest) error
	Restart(ctx context.Context, component string) error
	// Registry changes the registry of this machine, and says how it is then.
	Registry(ctx context.Context, change registry.Change) (registry.State, error)
}

// Informant is the part of Backend that changes nothing.
type Informant interface {
	Status(ctx context.Context) Status
	// Events gives the past events, then live ones; the channel is closed with ctx.
	Events(ctx context.Context) <-chan Event
	Versions() map[string]string
	// Disk takes a while: it reads directories.
	Disk(ctx context.Context) (disk.Report, error)
}

// Listen opens the control socket, in place of one that a dead daemon left. Call it with the
// daemon's lock held. The caller widens the permissions (package access).
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// NewServer makes the server. Its base context ends the event streams, so that Shutdown returns.
func NewServer(ctx context.Context, b Backend) *http.Server {
	return &http.Server{
		Handler:           Handler(b),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
}

// Handler serves the API.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, b.Status(r.Context()))
	})
	mux.HandleFunc("GET /v1/version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, b.Versions())
	})
	mux.HandleFunc("GET /v1/disk", func(w http.ResponseWriter, r *http.Request) {
		report, err := b.Disk(r.Context())
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, report)
	})
	mux.HandleFunc("POST /v1/registry", func(w http.ResponseWriter, r *http.Request) {
		var change registry.Change
		if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
			refuse(w, &fault.Error{Code: "bad-request", Summary: "the body of /v1/registry is not valid JSON", Cause: err})
			return
		}
		state, err := b.Registry(r.Context(), change)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, state)
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		stream(w, b.Events(r.Context()))
	})
	mux.HandleFunc("POST /v1/down", func(w http.ResponseWriter, r *http.Request) {
		var req DownRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			refuse(w, &fault.Error{Code: "bad-request", Summary: "the body of /v1/down is not valid JSON", Cause: err})
			return
		}
		finish(w, b.Down(r.Context(), req))
	})
	mux.HandleFunc("POST /v1/restart", func(w http.ResponseWriter, r *http.Request) {
		finish(w, b.Restart(r.Context(), r.URL.Query().Get("component")))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &fault.Error{Code: "bad-request", Summary: fmt.Sprintf("the control API has no %s %s", r.Method, r.URL.Path)})
	})
	return mux
}

func stream(w http.ResponseWriter, events <-chan Event) {
	w.Header().Set("Content-Type", "application/jsonl")
	flusher := http.NewResponseController(w)
	_ = flusher.Flush()
	enc := json.NewEncoder(w)
	for e := range events {
		if enc.Encode(e) != nil {
			return
		}
		if len(events) == 0 {
			_ = flusher.Flush()
		}
	}
}

func finish(w http.ResponseWriter, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, struct{}{})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone away is no error of ours
}

func refuse(w http.ResponseWriter, err error) {
	e := FromError(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus(e.Code))
	_ = json.NewEncoder(w).Encode(e)
}
