package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
)

// namespace is the one that Docker and CRI share.
const namespace = "k8s.io"

// snapshotter is what both engines unpack images for.
const snapshotter = "overlayfs"

// backend is a containerd that answers.
type backend struct {
	store
	ingests   ingests
	subscribe func(ctx context.Context, filters ...string) (<-chan *events.Envelope, <-chan error)
	close     func()
}

// dial connects to containerd and waits a moment for its answer.
func dial(ctx context.Context, socket, imagesTar string) (*backend, error) {
	c, err := client.New(socket, client.WithDefaultNamespace(namespace), client.WithTimeout(2*time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	probe, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if serving, err := c.IsServing(probe); err != nil || !serving {
		_ = c.Close()
		return nil, fmt.Errorf("containerd does not answer: %w", errors.Join(err, probe.Err()))
	}
	return &backend{
		store: store{
			images:  c.ImageService(),
			content: c.ContentStore(),
			leases:  c.LeasesService(),
			load:    func(ctx context.Context) error { return load(ctx, c, imagesTar) },
		},
		ingests:   c.ContentStore(),
		subscribe: c.Subscribe,
		close:     func() { _ = c.Close() },
	}, nil
}

// load imports an OCI archive and unpacks its images. The labels are those that CRI would add, so
// that it has nothing left to do.
func load(ctx context.Context, c *client.Client, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return fmt.Errorf("load the images of the payload: %w", err)
	}
	defer f.Close()
	imported, err := c.Import(ctx, f, client.WithImageLabels(map[string]string{
		labelManaged: managed,
		labelPinned:  pinned,
		labelWhy:     "base",
	}))
	if err != nil {
		return fmt.Errorf("load the images of the payload: %w", err)
	}
	for _, img := range imported {
		if err := client.NewImage(c, img).Unpack(ctx, snapshotter); err != nil {
			return fmt.Errorf("unpack image %s: %w", img.Name, err)
		}
	}
	return nil
}
