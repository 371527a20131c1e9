package images

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	reachTimeout = 2 * time.Second
	reachMemory  = 5 * time.Second
)

// reacher finds out whether registries can be reached, and remembers for a moment what it found:
// a pod's images are pulled together.
type reacher struct {
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	clock func() time.Time

	mu    sync.Mutex
	found map[string]reached
}

type reached struct {
	err error
	at  time.Time
}

func newReacher() *reacher {
	return &reacher{
		dial:  (&net.Dialer{Timeout: reachTimeout}).DialContext,
		clock: time.Now,
		found: map[string]reached{},
	}
}

// reach is nil when a connection to the registry can be made.
func (r *reacher) reach(ctx context.Context, registry string) error {
	r.mu.Lock()
	last, ok := r.found[registry]
	r.mu.Unlock()
	if ok && r.clock().Sub(last.at) < reachMemory {
		return last.err
	}
	conn, err := r.dial(ctx, "tcp", registryAddress(registry))
	if err == nil {
		_ = conn.Close()
	}
	if ctx.Err() != nil {
		return nil // the client has gone, which says nothing of the registry
	}
	r.mu.Lock()
	r.found[registry] = reached{err, r.clock()}
	r.mu.Unlock()
	return err
}

func registryAddress(registry string) string {
	if registry == "docker.io" {
		registry = "registry-1.docker.io"
	}
	if _, _, err := net.SplitHostPort(registry); err == nil {
		return registry
	}
	if registry == "localhost" {
		return "localhost:80"
	}
	return net.JoinHostPort(registry, "443")
}
