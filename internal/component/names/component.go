package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/container"
)

// gather is how long to wait after an event for those that follow: a start has several.
const gather = 20 * time.Millisecond

// Options is what the daemon knows about this instance.
type Options struct {
	File         string     // that is written, in the form of /etc/hosts
	DockerSocket string     // "": names of containers are left out
	Node         netip.Addr // the node's IPv4 address
	Bridge       string     // the pods' bridge
	Logger       *slog.Logger
}

// Component is the writer of the names, supervised.
type Component struct {
	o       Options
	changed chan struct{} // has one when the file may be stale

	mu      sync.Mutex
	docker  *client.Client // nil: dockerd is away
	written string
}

// New returns the component; nothing is touched before Prepare.
func New(o Options) *Component { return &Component{o: o, changed: make(chan struct{}, 1)} }

// Name implements supervisor.Component.
func (c *Component) Name() string { return "names" }

// Requires implements supervisor.Component.
func (c *Component) Requires() []string { return nil }

// Prepare writes the host's names. Those of containers that an earlier run has written stay until dockerd answers.
func (c *Component) Prepare(context.Context) error {
	if err := os.MkdirAll(filepath.Dir(c.o.File), 0o700); err != nil {
		return fmt.Errorf("make the directory of names: %w", err)
	}
	if c.o.DockerSocket != "" {
		if _, err := os.Stat(c.o.File); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return c.write(newTable(c.o.Node))
}

// Run implements supervisor.Component.
func (c *Component) Run(ctx context.Context, ready func()) error {
	ready()
	if c.o.DockerSocket == "" {
		<-ctx.Done()
		return nil
	}
	var watch sync.WaitGroup
	defer watch.Wait()
	watch.Go(func() {
		container.Watch{
			Socket:    c.o.DockerSocket,
			Connected: c.connected,
			Lost:      func() { c.connected(nil) },
			Event:     func(events.Message) { c.stale() },
		}.Run(ctx)
	})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(gather):
		}
		if err := c.update(ctx); err != nil && ctx.Err() == nil {
			c.o.Logger.Warn("The names of containers cannot be brought up to date", "error", err)
		}
	}
}

func (c *Component) connected(docker *client.Client) {
	c.mu.Lock()
	c.docker = docker
	c.mu.Unlock()
	if docker != nil {
		c.stale()
	}
}

func (c *Component) stale() {
	select {
	case c.changed <- struct{}{}:
	default: // one that is waiting is enough
	}
}

// update asks dockerd. While dockerd is away nothing changes, and its return is told of.
func (c *Component) update(ctx context.Context) error {
	c.mu.Lock()
	docker := c.docker
	c.mu.Unlock()
	if docker == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	all, err := container.List(ctx, docker)
	if client.IsErrConnectionFailed(err) {
		return nil
	}
	if err != nil {
		return err
	}
	listed, err := docker.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return fmt.Errorf("list Docker's networks: %w", err)
	}
	networks := make(map[string]network.Network, len(listed.Items))
	for _, n := range listed.Items {
		networks[n.ID] = n.Network
	}
	return c.write(reach{node: c.o.Node, bridge: c.o.Bridge, networks: networks}.hosts(all))
}

func (c *Component) write(t table) error {
	text := t.String()
	if text == c.written {
		return nil
	}
	if err := atomicfile.Write(c.o.File, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the names: %w", err)
	}
	c.written = text
	return nil
}
