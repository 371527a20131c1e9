package frontdoor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"

	"github.com/boxyard/boxyard/internal/container"
)

// domain ends the names of containers, before the suffix.
const domain = ".docker"

// containers are NAME.docker, and SERVICE.PROJECT.docker for Compose's. They are listed when somebody asks
// and something has changed since, of which dockerd's events tell. What was listed stays while dockerd is
// away, since its containers go on.
type containers struct {
	socket, dir string
	claims      *claims
	port        int
	log         *slog.Logger

	mu     sync.Mutex
	docker *client.Client // nil: dockerd is away
	stale  bool
	listed bool // once
	all    []container.Container
}

func newContainers(o Options) *containers {
	d := &containers{socket: o.DockerSocket, dir: o.DockerDir, port: o.Port, claims: newClaims(), log: o.Logger}
	d.claimAll()
	return d
}

// run follows dockerd until ctx is done, wherever it goes.
func (d *containers) run(ctx context.Context) {
	container.Watch{
		Socket: d.socket,
		Connected: func(docker *client.Client) {
			d.claimAll()
			d.connected(docker)
		},
		Lost: func() { d.connected(nil) },
		Event: func(e events.Message) {
			d.changed()
			d.follow(e)
		},
	}.Run(ctx)
}

func (d *containers) connected(docker *client.Client) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.docker, d.stale = docker, true
}

func (d *containers) changed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stale = true
}

// claimAll finds the containers that publish our port, running or not: dockerd listens on it when one
// starts, and it may start at any time.
func (d *containers) claimAll() {
	found, err := container.Publishers(d.dir, d.port)
	if err != nil {
		d.log.Warn("Which containers want the front door's port is not known", "error", err)
		return
	}
	d.claims.replace(found)
}

func (d *containers) follow(e events.Message) {
	if e.Type != events.ContainerEventType {
		return
	}
	switch e.Action {
	case events.ActionCreate, events.ActionRename:
		// After this event a client asks for the start, in which dockerd makes the container's root and its
		// process before it needs the port: we have let go of it by then.
		name, wants, err := container.Publisher(d.dir, e.Actor.ID, d.port)
		if err != nil {
			d.log.Warn("Whether a container wants the front door's port is not known", "error", err)
		}
		if wants {
			d.claims.add(e.Actor.ID, name)
		}
	case events.ActionDestroy:
		d.claims.remove(e.Actor.ID)
	default: // changes what is listed, not who has our port
	}
}

// list is as of now, or of when dockerd was last there.
func (d *containers) list(ctx context.Context) ([]container.Container, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.docker == nil || !d.stale {
		if !d.listed {
			return nil, errEarly
		}
		return d.all, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	all, err := container.List(ctx, d.docker)
	switch {
	case err == nil:
		// An event that comes meanwhile waits for the lock, and is newer.
		d.all, d.stale, d.listed = all, false, true
	case !d.listed:
		return nil, errors.Join(errEarly, err)
	}
	return d.all, nil
}

func (d *containers) find(ctx context.Context, name string) (target, error) {
	name, ok := strings.CutSuffix(name, domain)
	if !ok {
		return target{}, errUnknown
	}
	all, err := d.list(ctx)
	if err != nil {
		return target{}, err
	}
	c, ok := container.Find(all, name)
	if !ok {
		return target{}, errUnknown
	}
	address, tls, err := c.Backend()
	if err != nil {
		return target{}, err
	}
	return target{title: "the container " + c.Name, address: address, tls: tls}, nil
}

func (d *containers) names(ctx context.Context) []string {
	all, err := d.list(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, c := range all {
		if _, _, err := c.Backend(); err == nil {
			names = append(names, c.HostName())
		}
	}
	return names
}
