package images

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/core/events"
)

// Topics of containerd's events.
const (
	topicImageCreate     = "/images/create"
	topicImageUpdate     = "/images/update"
	topicImageDelete     = "/images/delete"
	topicContainerCreate = "/containers/create"
)

// eventFilters ask for what is handled here and no more: a busy machine has many events.
func eventFilters() []string {
	var filters []string
	for _, topic := range []string{topicImageCreate, topicImageUpdate, topicImageDelete, topicContainerCreate} {
		filters = append(filters, fmt.Sprintf("namespace==%s,topic==%s", namespace, topic))
	}
	return filters
}

// isDockers says whether an event is about a container of Docker's: those do not name an image
// (moby daemon/internal/libcontainerd/remote/client.go, NewContainer), CRI's do.
func isDockers(e *events.Envelope) bool {
	image, _ := e.Field([]string{"event", "image"})
	return e.Topic == topicContainerCreate && image == ""
}

// handle does what the event of an image asks for.
func (g *guard) handle(ctx context.Context, e *events.Envelope) error {
	name, ok := e.Field([]string{"event", "name"})
	if !ok {
		return nil
	}
	if e.Topic == topicImageDelete {
		g.deleted(name)
		return nil
	}
	return g.changed(ctx, name)
}
