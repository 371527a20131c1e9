package names

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	Dir          string     // of the two files that are written
	DockerSocket string     // "": there is no Docker
	Containers   bool       // whether containers have names, besides the host
	Node         netip.Addr // the node's IPv4 address
	// Open lets pods reach these ranges of Docker's networks, and no others. Nil: none is open to them.
	Open   func(ctx context.Context, ranges []netip.Prefix) error
	Logger *slog.Logger
}

// Component is the writer of the names, supervised.
type Component struct {
	o       Options
	changed chan struct{} // has one when the file may be stale

	mu     sync.Mutex
	docker *client.Client // nil: dockerd is away
	news   news

	// What was learned of dockerd, and what was written; for Run's goroutine only.
	containers container.Tracker
	networks   map[string]network.Summary
	written    map[string]string
}

// HostsFile has the names, in the form of /etc/hosts.
func HostsFile(dir string) string { return filepath.Join(dir, "hosts") }

// openFile has the ranges that were opened last, for the next daemon.
func openFile(dir string) string { return filepath.Join(dir, "open") }

// Opened are the ranges that an earlier daemon has opened to pods: containers go on while there is none.
func Opened(dir string) []netip.Prefix {
	data, err := os.ReadFile(openFile(dir))
	if err != nil {
		return nil
	}
	var ranges []netip.Prefix
	for text := range strings.FieldsSeq(string(data)) {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil
		}
		ranges = append(ranges, p)
	}
	return ranges
}

// New returns the component; nothing is touched before Prepare.
func New(o Options) *Component {
	return &Component{o: o, changed: make(chan struct{}, 1), written: map[string]string{}}
}

// Name implements supervisor.Component.
func (c *Component) Name() string { return "names" }

// Requires implements supervisor.Component.
func (c *Component) Requires() []string { return nil }

// Prepare writes the host's names. Those of containers that an earlier run has written stay until dockerd answers.
func (c *Component) Prepare(context.Context) error {
	if err := os.MkdirAll(c.o.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of names: %w", err)
	}
	if c.o.Containers {
		if _, err := os.Stat(HostsFile(c.o.Dir)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return c.write(HostsFile(c.o.Dir), newTable(c.o.Node).String())
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
			Event:     c.happened,
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
	c.news = news{containers: true, networks: true}
	c.mu.Unlock()
	if docker != nil {
		c.stale()
	}
}

// happened is called for each of dockerd's events.
func (c *Component) happened(e events.Message) {
	c.mu.Lock()
	c.news.add(e)
	c.mu.Unlock()
	c.stale()
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
	docker, changed := c.docker, c.news
	c.news = news{}
	c.mu.Unlock()
	if docker == nil || changed.none() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := c.follow(ctx, docker, changed); err != nil {
		if client.IsErrConnectionFailed(err) {
			return nil
		}
		// The next time everything is looked at.
		c.mu.Lock()
		c.news.containers, c.news.networks = true, true
		c.mu.Unlock()
		return err
	}
	r := reach{node: c.o.Node, open: c.o.Open != nil, networks: c.networks}
	if r.open {
		ranges := r.ranges()
		if err := c.o.Open(ctx, ranges); err != nil {
			return err
		}
		if err := c.write(openFile(c.o.Dir), lines(ranges)); err != nil {
			return err
		}
	}
	if !c.o.Containers {
		return nil
	}
	return c.write(HostsFile(c.o.Dir), r.hosts(c.containers.All()).String())
}

// follow brings what is known of containers and networks up to date.
func (c *Component) follow(ctx context.Context, docker *client.Client, changed news) error {
	var err error
	if changed.containers {
		err = c.containers.Load(ctx, docker)
	} else {
		err = c.containers.Update(ctx, docker, slices.Sorted(maps.Keys(changed.ids)))
	}
	if err != nil || !changed.networks {
		return err
	}
	listed, err := docker.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return fmt.Errorf("list Docker's networks: %w", err)
	}
	c.networks = make(map[string]network.Summary, len(listed.Items))
	for _, n := range listed.Items {
		c.networks[n.ID] = n
	}
	return nil
}

func lines(ranges []netip.Prefix) string {
	var b strings.Builder
	for _, p := range ranges {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

func (c *Component) write(file, text string) error {
	if last, ok := c.written[file]; ok && last == text {
		return nil
	}
	if err := atomicfile.Write(file, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the names: %w", err)
	}
	c.written[file] = text
	return nil
}
