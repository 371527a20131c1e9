package container

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Tracker keeps Docker's containers as they are: it lists them once, and asks about one when an event names it. A list
// costs dockerd some ten calls to containerd for each container that there is, in the middle of somebody's
// `docker run`; to inspect one costs it none. The zero value is empty. Not for use by several goroutines at once.
type Tracker struct {
	known map[string]container.Summary
}

type asker interface {
	lister
	ContainerInspect(ctx context.Context, id string, options client.ContainerInspectOptions) (client.ContainerInspectResult, error)
}

// Load lists all containers anew.
func (t *Tracker) Load(ctx context.Context, docker asker) error {
	listed, err := summaries(ctx, docker)
	if err != nil {
		return err
	}
	t.known = make(map[string]container.Summary, len(listed))
	for _, s := range listed {
		t.known[s.ID] = s
	}
	return nil
}

// Update asks about some containers, which may be gone. It goes on after an error.
func (t *Tracker) Update(ctx context.Context, docker asker, ids []string) error {
	var errs []error
	for _, id := range ids {
		now, err := docker.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
		switch {
		case errdefs.IsNotFound(err):
			delete(t.known, id)
		case err != nil:
			errs = append(errs, fmt.Errorf("inspect Docker's container %s: %w", id, err))
		default:
			if t.known == nil {
				t.known = map[string]container.Summary{}
			}
			t.known[id] = summarize(now.Container)
		}
	}
	return errors.Join(errs...)
}

// All are the containers as of the last call, sorted by name.
func (t *Tracker) All() []Container { return convert(slices.Collect(maps.Values(t.known))) }

// summarize gives of an inspection what a list has, as far as one looks at.
func summarize(c container.InspectResponse) container.Summary {
	s := container.Summary{ID: c.ID, Names: []string{c.Name}}
	if c.Config != nil {
		s.Labels = c.Config.Labels
	}
	if c.State != nil {
		s.State = c.State.Status
	}
	if c.HostConfig != nil {
		s.HostConfig.NetworkMode = string(c.HostConfig.NetworkMode)
	}
	if c.NetworkSettings == nil {
		return s
	}
	s.NetworkSettings = &container.NetworkSettingsSummary{Networks: c.NetworkSettings.Networks}
	for port, bindings := range c.NetworkSettings.Ports {
		p := container.PortSummary{PrivatePort: port.Num(), Type: string(port.Proto())}
		if len(bindings) == 0 {
			s.Ports = append(s.Ports, p)
		}
		for _, b := range bindings {
			p.IP = b.HostIP
			// What dockerd says of a published port is a number.
			_, _ = fmt.Sscan(b.HostPort, &p.PublicPort)
			s.Ports = append(s.Ports, p)
		}
	}
	return s
}
