package container

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
)

// Watch tells of what happens to containers and their networks, for as long as dockerd is there, and again when it
// is back.
type Watch struct {
	Socket string
	// Connected is called when events have been asked for: from then on none is missed. Its client lives until Lost
	// is called, which is at once where dockerd is away.
	Connected func(*client.Client)
	Lost      func()
	// Event is called for each one, in order.
	Event func(events.Message)
}

// Run blocks until ctx is done. That dockerd is away is no error: its component says so.
func (w Watch) Run(ctx context.Context) {
	const shortest, longest = 50 * time.Millisecond, time.Second
	wait := shortest
	for {
		began := time.Now()
		_ = w.session(ctx)
		if time.Since(began) > longest {
			wait = shortest
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

func (w Watch) session(ctx context.Context) error {
	docker, err := client.New(client.WithHost("unix://" + w.Socket))
	if err != nil {
		return fmt.Errorf("connect to dockerd: %w", err)
	}
	defer docker.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// First the events, then what they change: nothing happens unseen in between.
	stream := docker.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).
		Add("type", string(events.ContainerEventType), string(events.NetworkEventType)).
		Add("event", eventsOfInterest()...)})
	w.Connected(docker)
	defer w.Lost()
	for {
		select {
		case err := <-stream.Err:
			return fmt.Errorf("events of dockerd: %w", err)
		case e := <-stream.Messages:
			w.Event(e)
		}
	}
}

func eventsOfInterest() []string {
	var names []string
	for _, a := range []events.Action{
		events.ActionCreate, events.ActionStart, events.ActionDie, events.ActionDestroy, events.ActionRename,
		events.ActionPause, events.ActionUnPause, events.ActionConnect, events.ActionDisconnect,
	} {
		names = append(names, string(a))
	}
	return names
}
