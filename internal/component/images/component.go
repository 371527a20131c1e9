package images

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Options is what the component needs to know.
type Options struct {
	Socket    string // containerd's
	Port      int    // of the mirror on 127.0.0.1; 0: DefaultPort
	PKIDir    string // its images/{ca,server}.{crt,key} are read at each connection
	DataDir   string // made here: what must outlast a restart
	InUseFile string // images-in-use.json; its directory must be there
	ImagesTar string // the payload's images
	// BaseImages are the names of the payload's images, in full ("docker.io/boxyard/base:latest").
	BaseImages []string
	// DockerSocket is asked which images Docker's containers use. "": Docker is off.
	DockerSocket string
	// Proxied says that containerd reaches registries through a proxy of its own, so that we cannot ask them.
	Proxied bool
	// Registries is the directory in which the user says how registries are reached.
	Registries string
	Logger     *slog.Logger // nil: no log
}

// Component is the image mirror and the image guard.
type Component struct {
	options Options
	dial    func(ctx context.Context) (*backend, error)

	mu      sync.Mutex
	waiting string // what is waited for, "" when connected
}

// New returns the component; nothing is touched before Prepare.
func New(o Options) *Component {
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Component{
		options: o,
		dial: func(ctx context.Context) (*backend, error) {
			return dial(ctx, o.Socket, o.ImagesTar)
		},
	}
}

// Name implements supervisor.Component.
func (c *Component) Name() string { return "images" }

// Requires implements supervisor.Component.
func (c *Component) Requires() []string { return []string{"containerd"} }

// Prepare makes the data directory.
func (c *Component) Prepare(context.Context) error {
	if err := os.MkdirAll(c.options.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory of images: %w", err)
	}
	return nil
}

// WaitingFor implements supervisor.Describer.
func (c *Component) WaitingFor() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting
}

// CheckHealth implements supervisor.HealthChecker.
func (c *Component) CheckHealth(context.Context) error {
	if w := c.WaitingFor(); w != "" {
		return errors.New(w)
	}
	return nil
}

func (c *Component) wait(sentence string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = sentence
}

// Run implements supervisor.Component. It is ready when the mirror answers, the payload's images are
// there and the guard has seen all images. It outlasts containerd: while that is away it waits.
func (c *Component) Run(ctx context.Context, ready func()) error {
	p, err := openProvenance(filepath.Join(c.options.DataDir, "local.json"), time.Now)
	if err != nil {
		return err
	}
	g, err := openGuard(filepath.Join(c.options.DataDir, "guarded.json"), c.options.BaseImages, p, c.options.Logger)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, c.options.Port)
	if err != nil {
		return err
	}
	m := &switchable{}
	inUse, docker := make(chan struct{}, 1), make(chan struct{}, 1)
	var once sync.Once
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serveTLS(ctx, listener, c.options.PKIDir, m, c.options.Logger) })
	group.Go(func() error { return watchFile(ctx, c.options.InUseFile, inUse) })
	group.Go(func() error {
		c.watchDocker(ctx, docker)
		return nil
	})
	group.Go(func() error {
		return c.reconnect(ctx, func(b *backend, connected func()) error {
			m.current.Store(c.mirror(b, g))
			defer m.current.Store(nil)
			return c.session(ctx, b, g, inUse, docker, func() {
				connected()
				once.Do(ready)
			})
		})
	})
	return group.Wait()
}

func (c *Component) mirror(b *backend, g *guard) *mirror {
	m := &mirror{
		images:     b.images,
		content:    b.content,
		provenance: g.provenance,
		pending: func(name string) (ocispec.Descriptor, bool) {
			target, ok := g.pending.Load(name)
			if !ok {
				return ocispec.Descriptor{}, false
			}
			return target.(ocispec.Descriptor), true
		},
		asked: func() { g.pulled.Store(time.Now().UnixNano()) },
		log:   c.options.Logger,
	}
	if !c.options.Proxied {
		m.ask = newAsker(c.options.Registries).ask
	}
	return m
}

// reconnect runs session with a containerd that answers, again and again until ctx is done. An error
// of the first session, before it called connected, ends it: it is not about containerd being away.
func (c *Component) reconnect(ctx context.Context, session func(b *backend, connected func()) error) error {
	const shortest, longest = 50 * time.Millisecond, time.Second
	wait, everConnected := shortest, false
	for {
		b, err := c.dial(ctx)
		if err == nil {
			start := time.Now()
			err = session(b, func() {
				everConnected = true
				c.wait("")
			})
			b.close()
			if ctx.Err() != nil {
				return nil
			}
			if !everConnected {
				return err
			}
			// One that breaks at once must not be tried in a tight loop.
			if time.Since(start) > longest {
				wait = shortest
			}
			c.options.Logger.Warn("images: lost containerd", "error", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		c.wait(fmt.Sprintf("containerd (%v)", err))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// session guards the images of one connection until it breaks or ctx is done.
func (c *Component) session(ctx context.Context, b *backend, g *guard, inUse, docker <-chan struct{}, connected func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// First the events, then the list: nothing happens unseen in between.
	stream, broken := b.subscribe(ctx, eventFilters()...)
	c.readNeeds(g)
	if _, err := c.readDocker(ctx, g); err != nil {
		c.options.Logger.Debug("images: Docker is not there yet", "error", err)
	}
	if err := g.provenance.forget(ctx, b.content); err != nil {
		return err
	}
	if err := g.connected(ctx, b.store); err != nil {
		return err
	}
	connected()
	var sweep sync.WaitGroup
	defer sweep.Wait()
	defer cancel()
	sweep.Go(func() { sweepStuck(ctx, b.ingests, c.options.Logger) })

	var due, listDue <-chan time.Time
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return fmt.Errorf("events of containerd: %w", err)
		case e := <-stream:
			err = g.event(ctx, e)
		case <-inUse:
			c.readNeeds(g)
			err = g.reconcile(ctx)
		case <-docker:
			if listDue == nil {
				listDue = time.After(gather)
			}
		case <-listDue:
			listDue = nil
			err = c.dockerChanged(ctx, g)
		case <-due:
			due = nil
			err = g.restoreDue(ctx)
		}
		if err != nil {
			c.options.Logger.Warn("images", "error", err)
		}
		if wait, ok := g.nextRestore(); ok {
			due = time.After(wait)
		}
	}
}

// readNeeds takes over what the cluster says it uses. What cannot be read stays as it was.
func (c *Component) readNeeds(g *guard) {
	use, err := readInUse(c.options.InUseFile)
	if err != nil {
		c.options.Logger.Warn("images", "error", err)
		return
	}
	g.need(use.names)
	g.mounts(use.volumes)
}

// readDocker takes over which images Docker's containers use.
func (c *Component) readDocker(ctx context.Context, g *guard) (changed bool, err error) {
	if c.options.DockerSocket == "" {
		return false, nil
	}
	inUse, err := dockerImages(ctx, c.options.DockerSocket)
	if err != nil {
		return false, err
	}
	changed = !maps.Equal(g.docker, inUse)
	g.docker = inUse
	return changed, nil
}
