package images

import (
	"context"
	"fmt"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"
)

// eventFilters ask for what is handled here and no more: a busy machine has many events.
func eventFilters() []string {
	var filters []string
	for _, topic := range []string{"/images/create", "/images/update", "/images/delete"} {
		filters = append(filters, fmt.Sprintf("namespace==%s,topic==%q", namespace, topic))
	}
	return filters
}

// event does what an event of containerd asks for.
func (g *guard) event(ctx context.Context, envelope *events.Envelope) error {
	e, err := typeurl.UnmarshalAny(envelope.Event)
	if err != nil {
		return fmt.Errorf("read event %s: %w", envelope.Topic, err)
	}
	switch e := e.(type) {
	case *eventsapi.ImageCreate:
		return g.changed(ctx, e.GetName())
	case *eventsapi.ImageUpdate:
		return g.changed(ctx, e.GetName())
	case *eventsapi.ImageDelete:
		g.deleted(e.GetName())
	}
	return nil
}

func (c *Component) dockerChanged(ctx context.Context, g *guard) error {
	changed, err := c.readDocker(ctx, g)
	if err != nil || !changed {
		return err
	}
	return g.reconcile(ctx)
}
