package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

// sourceLabel, followed by a registry's host, is the label on content that was pulled from it.
const sourceLabel = "containerd.io/distribution.source."

// provenance knows which images were made on this machine: built, loaded, committed or tagged here,
// and never pulled under that name.
//
// Content that was pulled carries a label with the repositories it came from. A pull through our own
// mirror puts the label on local images too, so a repository and digest that are found without it
// are written down, before the mirror answers for them.
type provenance struct {
	file  string
	clock func() time.Time

	mu    sync.Mutex
	local map[string]time.Time // "docker.io/library/hello@sha256:...": when it was first seen
}

// openProvenance reads file. A damaged one is put aside: what was pulled through the mirror before is
// then taken for the registry's, until it is built again.
func openProvenance(file string, clock func() time.Time) (*provenance, error) {
	p := &provenance{file: file, clock: clock, local: map[string]time.Time{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of local images: %w", err)
	}
	if err := json.Unmarshal(data, &p.local); err != nil || p.local == nil {
		p.local = map[string]time.Time{}
		if err := os.Rename(file, file+".damaged"); err != nil {
			return nil, fmt.Errorf("put the damaged list of local images aside: %w", err)
		}
	}
	return p, nil
}

// isLocal says whether the content d, as an image of repository, was made on this machine, and
// remembers a yes. Content that is not in the store is not local.
func (p *provenance) isLocal(ctx context.Context, store content.InfoProvider, repository reference.Named, d digest.Digest) (bool, error) {
	info, err := store.Info(ctx, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the content of %s: %w", repository, err)
	}
	key := repository.Name() + "@" + d.String()

	p.mu.Lock()
	defer p.mu.Unlock()
	seen, known := p.local[key]
	// Content that came after it was seen had been deleted in between: it is judged anew.
	if known && !info.CreatedAt.After(seen) {
		return true, nil
	}
	if !pulledFrom(info.Labels, repository) {
		p.local[key] = p.clock()
		return true, p.save()
	}
	if known {
		delete(p.local, key)
		return false, p.save()
	}
	return false, nil
}

// forget drops what is no longer in the store.
func (p *provenance) forget(ctx context.Context, store content.InfoProvider) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.local)
	for key := range p.local {
		_, d, _ := strings.Cut(key, "@")
		_, err := store.Info(ctx, digest.Digest(d))
		if errdefs.IsNotFound(err) {
			delete(p.local, key)
		} else if err != nil {
			return fmt.Errorf("look at the content %s: %w", d, err)
		}
	}
	if len(p.local) == before {
		return nil
	}
	return p.save()
}

// save is called with the lock held.
func (p *provenance) save() error {
	data, err := json.MarshalIndent(p.local, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the list of local images: %w", err)
	}
	return atomicfile.Write(p.file, append(data, '\n'), 0o600)
}

// pulledFrom reads the label that containerd appends to pulled content. Its key has the registry's
// host without the port (core/remotes/docker/handler.go, AppendDistributionSourceLabel).
func pulledFrom(labels map[string]string, repository reference.Named) bool {
	host := reference.Domain(repository)
	if u, err := url.Parse("dummy://" + host); err == nil {
		host = u.Hostname()
	}
	sources := strings.Split(labels[sourceLabel+host], ",")
	return slices.Contains(sources, reference.Path(repository))
}
