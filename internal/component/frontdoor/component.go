package frontdoor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/boxyard/boxyard/internal/service"
)

const (
	// A port that another program has is tried again this often.
	retryEvery = 2 * time.Second
	// Who has it is looked up this often: that reads every process's open files.
	explainEvery = time.Minute
	// Requests under way may end in this time when the part stops.
	stopPatience = time.Second
)

// Options is what the daemon knows about this instance.
type Options struct {
	Port         int    // on 127.0.0.1 and ::1
	Kubeconfig   string // path; "": there is no cluster
	DockerSocket string // "": there is no Docker
	DockerDir    string // dockerd's data
	Logger       *slog.Logger
}

// Component is the front door, supervised. It is ready with its port or without: no other part needs it,
// so a port that it cannot have is a warning.
type Component struct {
	o      Options
	listen func(ctx context.Context, port int) ([]net.Listener, error)

	mu      sync.Mutex
	warning string // why the port is not held; "": it is
	open    bool
}

// New returns the component; nothing is touched before Run.
func New(o Options) *Component { return &Component{o: o, listen: listen} }

// Name implements supervisor.Component.
func (c *Component) Name() string { return "front-door" }

// Requires implements supervisor.Component. Whatever is away is a page that says so.
func (c *Component) Requires() []string { return nil }

// Prepare implements supervisor.Component.
func (c *Component) Prepare(context.Context) error { return nil }

// Warning implements supervisor.Warner.
func (c *Component) Warning() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.warning
}

// Port is the port while it is held, else 0.
func (c *Component) Port() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return 0
	}
	return c.o.Port
}

func (c *Component) set(open bool, warning string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if warning != c.warning {
		if warning != "" {
			c.o.Logger.Warn("The front door is closed", "reason", warning)
		} else {
			c.o.Logger.Info("The front door is open again")
		}
	}
	c.open, c.warning = open, warning
}

// Run implements supervisor.Component.
func (c *Component) Run(ctx context.Context, ready func()) error {
	group, ctx := errgroup.WithContext(ctx)
	h := &handler{log: c.o.Logger}
	claims := newClaims()
	if c.o.DockerSocket != "" {
		d := newContainers(c.o)
		claims = d.claims
		h.directories = append(h.directories, d)
		group.Go(func() error { d.run(ctx); return nil })
	}
	if c.o.Kubeconfig != "" {
		d := service.NewDirectory(func() ([]byte, error) { return os.ReadFile(c.o.Kubeconfig) }, c.o.Logger)
		h.directories = append(h.directories, services{d})
		group.Go(func() error { return d.Run(ctx) })
	}
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests() // and with them the WebSockets, of which the server knows no more
	server := newServer(requests, h)
	group.Go(func() error {
		c.keepOpen(ctx, server, claims, ready)
		return shutdown(ctx, server)
	})
	return group.Wait()
}

// keepOpen holds the port whenever it can be had, until ctx is done.
func (c *Component) keepOpen(ctx context.Context, server *http.Server, claims *claims, ready func()) {
	defer c.set(false, "")
	var explained time.Time
	for ctx.Err() == nil {
		by, changed := claims.look()
		if by != "" {
			c.set(false, claimed(c.o.Port, by))
			explained = time.Time{}
			ready()
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		listeners, err := c.listen(ctx, c.o.Port)
		if err != nil {
			if time.Since(explained) > explainEvery {
				c.set(false, taken(c.o.Port, err))
				explained = time.Now()
			}
			ready()
			select {
			case <-changed:
			case <-time.After(retryEvery):
			case <-ctx.Done():
			}
			continue
		}
		c.set(true, "")
		explained = time.Time{}
		ready()
		serve(ctx, server, listeners, claims)
	}
}

// serve answers on the listeners until ctx is done, a container wants the port, or a listener fails.
func serve(ctx context.Context, server *http.Server, listeners []net.Listener, claims *claims) {
	failed := make(chan struct{}, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			_ = server.Serve(l) // it ends with the listener; connections go on
			failed <- struct{}{}
		})
	}
	defer func() {
		for _, l := range listeners {
			_ = l.Close()
		}
		serving.Wait()
	}()
	for {
		by, changed := claims.look()
		if by != "" {
			return
		}
		select {
		case <-changed:
		case <-failed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// shutdown lets requests under way end. Streams do not end by themselves.
func shutdown(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}
