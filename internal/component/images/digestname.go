package images

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// nameByDigest gives an image that was made here, and that pods use, the record "name@digest" that a pull makes
// (containerd internal/cri/server/images/image_pull.go). What CRI says a container runs, and so a pod's imageID, is
// that name; of an image without it, CRI says the digest of the configuration, which docker build never printed and no
// registry knows. all are the images that there are.
func (g *guard) nameByDigest(ctx context.Context, img images.Image, all map[string]images.Image) error {
	named, err := reference.ParseNormalizedNamed(img.Name)
	if err != nil {
		return nil //nolint:nilerr // madeHere has passed such a name over
	}
	repository := reference.TrimNamed(named)
	canonical, err := reference.WithDigest(repository, img.Target.Digest)
	if err != nil {
		return fmt.Errorf("name %s by its digest: %w", img.Name, err)
	}
	if _, ok := all[canonical.String()]; !ok {
		record := images.Image{Name: canonical.String(), Target: img.Target, Labels: map[string]string{labelManaged: managed}}
		if _, err := g.store.images.Create(ctx, record); err != nil && !errdefs.IsAlreadyExists(err) {
			return fmt.Errorf("make the record %s: %w", record.Name, err)
		}
	}
	return g.forgetFormerDigests(ctx, img, repository.Name(), all)
}

// wantsDigest is for the images that nameByDigest is for.
func (g *guard) wantsDigest(img images.Image) bool {
	return img.Labels[labelWhy] == "local" && g.needed[img.Name]
}

// forgetFormerDigests deletes the records of digests that the image had before and that no tag has any more, where
// the image is the same. A build in which nothing has changed has a new digest too, because its provenance is new, and
// of the digests of one configuration CRI would say any.
func (g *guard) forgetFormerDigests(ctx context.Context, img images.Image, repository string, all map[string]images.Image) error {
	tagged := map[digest.Digest]bool{}
	var former []images.Image
	for name, other := range all {
		named, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			continue
		}
		if _, ok := named.(reference.Digested); !ok {
			tagged[other.Target.Digest] = true
		} else if named.Name() == repository && other.Target.Digest != img.Target.Digest {
			former = append(former, other)
		}
	}
	if len(former) == 0 {
		return nil
	}
	config, err := img.Config(ctx, g.store.content, platforms.Default())
	if err != nil {
		return fmt.Errorf("look for the configuration of %s: %w", img.Name, err)
	}
	var errs []error
	for _, f := range former {
		if tagged[f.Target.Digest] {
			continue
		}
		of, err := f.Config(ctx, g.store.content, platforms.Default())
		if err != nil || of.Digest != config.Digest {
			continue // another image, or what is left of one
		}
		if err := g.store.images.Delete(ctx, f.Name); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete the record %s: %w", f.Name, err))
		}
	}
	return errors.Join(errs...)
}
