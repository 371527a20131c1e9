package status

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Part is one line of the answer.
type Part struct {
	Name  string    `json:"name"`
	Ready bool      `json:"ready"`
	Since time.Time `json:"since"` // when Ready changed last

	waitingFor string
}

// answer is what GET / gives (ARCHITECTURE.md, "Contracts").
type answer struct {
	Ready      bool   `json:"ready"`
	WaitingFor string `json:"waitingFor"`
	Parts      []Part `json:"parts"`
}

// Board is the state of all parts. It is safe for concurrent use.
type Board struct {
	check func(context.Context)

	mu      sync.Mutex
	parts   []Part
	changed chan struct{} // closed and replaced when a part has changed
}

// New returns a board on which no part is ready. check, which may be nil, is called before each answer,
// with a second of time: it looks again at what may have changed without telling.
func New(check func(context.Context), names ...string) *Board {
	b := &Board{check: check, changed: make(chan struct{})}
	for _, name := range names {
		b.parts = append(b.parts, Part{Name: name, Since: time.Now(), waitingFor: name + " to start"})
	}
	return b
}

// Ready notes that the part can be used.
func (b *Board) Ready(name string) { b.set(name, true, "") }

// Wait notes that the part cannot be used and what it waits for: "node web to be Ready (no network)".
func (b *Board) Wait(name, waitingFor string) { b.set(name, false, waitingFor) }

func (b *Board) set(name string, ready bool, waitingFor string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.parts {
		p := &b.parts[i]
		if p.Name != name {
			continue
		}
		if p.Ready == ready && p.waitingFor == waitingFor {
			continue
		}
		if p.Ready != ready {
			p.Since = time.Now()
		}
		p.Ready, p.waitingFor = ready, waitingFor
		close(b.changed)
		b.changed = make(chan struct{})
	}
}

// IsReady says whether the part is ready.
func (b *Board) IsReady(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.parts, func(p Part) bool { return p.Name == name && p.Ready })
}

// All says whether every part is ready.
func (b *Board) All() bool { return b.answer().Ready }

// answer names the first part that is not ready as the one waited for: parts stand in the order of their start.
func (b *Board) answer() answer {
	a, _ := b.look()
	return a
}

// look gives the answer and what is closed when it may be another.
func (b *Board) look() (answer, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := answer{Ready: true, Parts: append([]Part(nil), b.parts...)}
	for _, p := range b.parts {
		if !p.Ready {
			a.Ready, a.WaitingFor = false, p.waitingFor
			break
		}
	}
	return a, b.changed
}

// longestWait is for how long a request may ask to be kept.
const longestWait = time.Second

// await gives the answer, at once if all is ready, else when what is waited for is another, or after limit.
func (b *Board) await(ctx context.Context, limit time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, min(limit, longestWait))
	defer cancel()
	first, changed := b.look()
	for a := first; ; a, changed = b.look() {
		if a.Ready || a.WaitingFor != first.WaitingFor {
			return a
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return a
		}
	}
}

// ServeHTTP implements http.Handler. With ?wait=500ms it keeps a request while nothing is new (see await).
func (b *Board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.check != nil {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		b.check(ctx)
	}
	limit, _ := time.ParseDuration(r.URL.Query().Get("wait")) // anything else is no wait
	a := b.await(r.Context(), limit)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}

// Serve answers on the unix socket until ctx is done. A file that a process before us left is replaced.
func (b *Board) Serve(ctx context.Context, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the old status socket: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen on the status socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: b, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the status socket: %w", err)
	}
	return nil
}
