package images

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
)

const (
	askTimeout = 3 * time.Second
	askMemory  = 5 * time.Second
)

// asker finds out what a registry says of an image to somebody without credentials, and remembers it for a moment: a
// pod's images are pulled together, and pods of one image as well.
type asker struct {
	resolve func(ctx context.Context, image string) error
	clock   func() time.Time

	mu    sync.Mutex
	found map[string]answer
}

type answer struct {
	err error
	at  time.Time
}

// newAsker goes by what the user says of registries in a directory (internal/registries).
func newAsker(registries string) *asker {
	resolver := docker.NewResolver(docker.ResolverOptions{
		Hosts: config.ConfigureHosts(context.Background(), config.HostOptions{HostDir: config.HostDirFromRoot(registries)}),
	})
	return &asker{
		resolve: func(ctx context.Context, image string) error {
			_, _, err := resolver.Resolve(ctx, image)
			return err
		},
		clock: time.Now,
		found: map[string]answer{},
	}
}

// ask is nil when the registry has the image, says that it has not, or takes its time; else why it says neither.
func (a *asker) ask(ctx context.Context, image string) error {
	a.mu.Lock()
	last, ok := a.found[image]
	a.mu.Unlock()
	if ok && a.clock().Sub(last.at) < askMemory {
		return last.err
	}
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := a.resolve(asking, image)
	if errdefs.IsNotFound(err) || asking.Err() != nil {
		err = nil
	}
	if wantsCredentials(err) {
		err = fmt.Errorf("without credentials its registry answers: %w; a pod has credentials by imagePullSecrets", err)
	} else if err != nil {
		err = fmt.Errorf("its registry cannot be reached: %w", err)
	}
	if ctx.Err() != nil {
		return nil // the client has gone, which says nothing of the registry
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock()
	maps.DeleteFunc(a.found, func(_ string, old answer) bool { return now.Sub(old.at) >= askMemory })
	a.found[image] = answer{err, now}
	return err
}

func wantsCredentials(err error) bool {
	status, ok := errors.AsType[remoteerrors.ErrUnexpectedStatus](err)
	return errors.Is(err, docker.ErrInvalidAuthorization) ||
		ok && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden)
}
