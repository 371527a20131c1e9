package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// prune frees what no tag leads to: not by an index, and not as a referrer of something that a tag leads to. Nobody may
// push meanwhile, which is why it comes before listening.
func prune(ctx context.Context, dir string) error {
	// The library takes it for an error where nothing was pushed yet.
	for _, part := range []string{"repositories", "blobs"} {
		if _, err := os.Stat(filepath.Join(dir, "docker", "registry", "v2", part)); errors.Is(err, os.ErrNotExist) {
			return nil
		}
	}
	files := filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 25})
	all, err := storage.NewRegistry(ctx, files, storage.EnableDelete)
	if err != nil {
		return err
	}
	enumerator, ok := all.(distribution.RepositoryEnumerator)
	if !ok {
		return errors.New("the library's registry does not list its repositories")
	}
	p := &pruned{Namespace: all, RepositoryEnumerator: enumerator, referrers: newReferrers(nil, dir)}
	if err := storage.MarkAndSweep(ctx, files, p, storage.GCOpts{RemoveUntagged: true, Quiet: true}); err != nil {
		return err
	}
	return p.forgetGone(ctx)
}

// pruned shows the library each repository such that what a tag leads to counts as tagged. By itself it would take
// signatures away from images: it does not know referrers, which nobody tags (registry/storage/garbagecollect.go).
type pruned struct {
	distribution.Namespace
	distribution.RepositoryEnumerator
	referrers *referrers
	seen      []distribution.Repository
}

// Repository implements distribution.Namespace.
func (p *pruned) Repository(ctx context.Context, name reference.Named) (distribution.Repository, error) {
	repository, err := p.Namespace.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	led, err := p.led(ctx, repository)
	if err != nil {
		return nil, fmt.Errorf("what tags of %s lead to: %w", name, err)
	}
	p.seen = append(p.seen, repository)
	return ledRepository{repository, led}, nil
}

// led are the manifests of a repository that a tag leads to.
func (p *pruned) led(ctx context.Context, repository distribution.Repository) (map[digest.Digest]bool, error) {
	led := map[digest.Digest]bool{}
	manifests, err := repository.Manifests(ctx)
	if err != nil {
		return nil, err
	}
	tags, err := repository.Tags(ctx).All(ctx)
	if _, none := errors.AsType[distribution.ErrRepositoryUnknown](err); none {
		return led, nil
	}
	if err != nil {
		return nil, err
	}
	var next []digest.Digest
	for _, tag := range tags {
		d, err := repository.Tags(ctx).Get(ctx, tag)
		if _, gone := errors.AsType[distribution.ErrTagUnknown](err); gone {
			continue
		}
		if err != nil {
			return nil, err
		}
		next = append(next, d.Digest)
	}
	for len(next) > 0 {
		d := next[len(next)-1]
		next = next[:len(next)-1]
		if led[d] {
			continue
		}
		// Layers are no manifests, and an index may name platforms that were never pushed.
		if is, err := manifests.Exists(ctx, d); err != nil {
			return nil, err
		} else if !is {
			continue
		}
		led[d] = true
		m, err := manifests.Get(ctx, d)
		if err != nil {
			return nil, err
		}
		referrers, err := p.referrers.found(repository.Named().Name(), d)
		if err != nil {
			return nil, err
		}
		for _, to := range append(referrers, m.References()...) {
			next = append(next, to.Digest)
		}
	}
	return led, nil
}

// forgetGone lists no referrer any more that is not there.
func (p *pruned) forgetGone(ctx context.Context) error {
	for _, repository := range p.seen {
		manifests, err := repository.Manifests(ctx)
		if err != nil {
			return err
		}
		name := repository.Named().Name()
		noted, err := p.referrers.noted(name)
		if err != nil {
			return err
		}
		for _, d := range noted {
			there, err := manifests.Exists(ctx, d)
			if err == nil && !there {
				err = p.referrers.forget(name, d)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

type ledRepository struct {
	distribution.Repository
	led map[digest.Digest]bool
}

// Tags implements distribution.Repository.
func (r ledRepository) Tags(ctx context.Context) distribution.TagService {
	return ledTags{r.Repository.Tags(ctx), r.led}
}

// Blobs implements distribution.Repository.
func (r ledRepository) Blobs(ctx context.Context) distribution.BlobStore {
	return layers{r.Repository.Blobs(ctx)}
}

// layers are those of one repository. It may have none, such as one with an index of what was never pushed; the library
// takes that for an error.
type layers struct{ distribution.BlobStore }

// Enumerate implements distribution.BlobEnumerator.
func (l layers) Enumerate(ctx context.Context, each func(digest.Digest) error) error {
	enumerator, ok := l.BlobStore.(distribution.BlobEnumerator)
	if !ok {
		return errors.New("the library's repository does not list its layers")
	}
	err := enumerator.Enumerate(ctx, each)
	if _, none := errors.AsType[driver.PathNotFoundError](err); none {
		return nil
	}
	return err
}

type ledTags struct {
	distribution.TagService
	led map[digest.Digest]bool
}

// Lookup is asked only whether there is any tag.
func (t ledTags) Lookup(_ context.Context, d ocispec.Descriptor) ([]string, error) {
	if t.led[d.Digest] {
		return []string{"led"}, nil
	}
	return nil, nil
}
