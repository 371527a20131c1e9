package images

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"

	"github.com/boxyard/boxyard/internal/container"
)

// gather is how long to wait after a container comes or goes for others that do, and for a short `docker run` to end:
// to look is work for containerd and dockerd, and dockerd keeps the images of its containers itself.
const gather = time.Second

// watchDocker tells changed when Docker's containers may have changed, until ctx is done. containerd knows a container of
// Docker's only from its first start on, and one that was created and not started needs its image as well.
func (c *Component) watchDocker(ctx context.Context, changed chan<- struct{}) {
	if c.options.DockerSocket == "" {
		return
	}
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // one that is waiting is enough
		}
	}
	container.Watch{
		Socket:    c.options.DockerSocket,
		Connected: func(*client.Client) { tell() },
		Lost:      func() {},
		Event: func(e events.Message) {
			if e.Action == events.ActionCreate || e.Action == events.ActionDestroy {
				tell()
			}
		},
	}.Run(ctx)
}

// dockerImages gives the targets of the images of Docker's containers, running or not. Docker's
// containers in containerd do not name their image, so dockerd is asked.
func dockerImages(ctx context.Context, socket string) (map[digest.Digest]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/containers/json?all=1", nil)
	if err != nil {
		return nil, err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("list Docker's containers: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("list Docker's containers: %s", resp.Status)
	}
	var containers []struct {
		ImageID digest.Digest // in the containerd image store, the digest of the image's target
	}
	if err := json.NewDecoder(resp.Body).Decode(&containers); err != nil {
		return nil, fmt.Errorf("list Docker's containers: %w", err)
	}
	inUse := map[digest.Digest]bool{}
	for _, c := range containers {
		inUse[c.ImageID] = true
	}
	return inUse, nil
}
