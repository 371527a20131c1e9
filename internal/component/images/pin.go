package images

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

const (
	// labelManaged says that CRI knows the image (containerd internal/cri/labels).
	labelManaged, managed = "io.cri-containerd.image", "managed"
	// labelPinned makes the kubelet's image collection pass over an image (containerd
	// internal/cri/store/image/image.go).
	labelPinned, pinned = "io.cri-containerd.pinned", "pinned"
	// labelWhy marks the pins that were set here, so that only those are taken back.
	labelWhy = "boxyard/pinned-because"

	danglingPrefix = "moby-dangling@"
)

// pin sets or takes back the label that keeps the kubelet from deleting an image, and gives the
// image as it is then.
func (g *guard) pin(ctx context.Context, img images.Image) (images.Image, error) {
	why, err := g.why(ctx, img)
	if err != nil {
		return img, err
	}
	want := map[string]string{labelWhy: why} // an empty value removes a label
	if why != "" {
		want[labelPinned] = pinned
	}
	if img.Labels[labelWhy] == want[labelWhy] && (why == "" || img.Labels[labelPinned] == pinned) {
		return img, nil
	}
	updated, err := g.store.images.Update(ctx, images.Image{Name: img.Name, Target: img.Target, Labels: want}, "labels."+labelPinned, "labels."+labelWhy)
	if errdefs.IsNotFound(err) {
		return img, nil // its deletion is an event to come
	}
	if err != nil {
		return img, fmt.Errorf("pin image %s: %w", img.Name, err)
	}
	return updated, nil
}

// why says for which reason an image is to be pinned, "" for none.
func (g *guard) why(ctx context.Context, img images.Image) (string, error) {
	// Asked for the base images too: a build from one of them labels it as pulled, and the mirror answers
	// only for what was seen here before that.
	local, err := g.madeHere(ctx, img)
	if err != nil {
		return "", err
	}
	switch {
	case slices.Contains(g.base, img.Name):
		return "base", nil
	case local:
		return "local", nil
	case g.docker[img.Target.Digest], g.docker == nil && img.Labels[labelWhy] == "docker":
		return "docker", nil
	case g.needed[img.Name]:
		// It comes back when it is deleted, so the kubelet must not count its bytes as freed.
		return "needed", nil
	}
	return "", nil
}

func (g *guard) madeHere(ctx context.Context, img images.Image) (bool, error) {
	if isID(img.Name) {
		return false, nil
	}
	if strings.HasPrefix(img.Name, danglingPrefix) {
		return g.neverPulled(ctx, img.Target.Digest)
	}
	named, err := reference.ParseNormalizedNamed(img.Name)
	if err != nil {
		return false, nil //nolint:nilerr // no repository has such a name, so the mirror is never asked for it
	}
	if _, ok := named.(reference.Digested); ok {
		// CRI adds such a name to what it pulls from us. The tag is pinned; once that has moved on,
		// what a former build leaves behind may go.
		return false, nil
	}
	return g.provenance.isLocal(ctx, g.store.content, named, img.Target.Digest)
}

// pullTime is within which a pull of an image that is here has ended, once the mirror was asked for it.
const pullTime = 2 * time.Second

// neverPulled is for what a build without a name, or a build that moved one, leaves behind.
func (g *guard) neverPulled(ctx context.Context, d digest.Digest) (bool, error) {
	info, err := g.store.content.Info(ctx, d)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the content %s: %w", d, err)
	}
	for label := range info.Labels {
		if strings.HasPrefix(label, sourceLabel) {
			return false, nil
		}
	}
	return true, nil
}

// tidy deletes the record "sha256:<config digest>" that CRI adds to every image that it meets, once
// the image also has a name that CRI knows. CRI finds an image by its id without that record, but
// Docker lists it as an image of its own and does not free an image that it points to. An image that a pod
// mounts as a volume must have that record: there CRI looks for it by the id (containerd
// internal/cri/server/container_image_mount.go). While pods pull, the record stays: a pull that finds it there looks at
// it once more, and fails if it has gone meanwhile (containerd internal/cri/server/images, createOrUpdateImageReference).
func (g *guard) tidy(ctx context.Context, img images.Image) error {
	if !isID(img.Name) && img.Labels[labelManaged] != managed {
		return nil // CRI has yet to see this name
	}
	same, err := g.store.images.List(ctx, "target.digest=="+img.Target.Digest.String())
	if err != nil {
		return fmt.Errorf("list the names of %s: %w", img.Target.Digest, err)
	}
	if slices.ContainsFunc(same, func(i images.Image) bool { return g.mounted[i.Name] }) {
		return g.recordByID(ctx, img, same)
	}
	known := slices.ContainsFunc(same, func(i images.Image) bool {
		return !isID(i.Name) && i.Labels[labelManaged] == managed
	})
	if !known {
		return nil
	}
	for _, i := range same {
		if !isID(i.Name) {
			continue
		}
		if g.pullsEnd().After(g.clock()) {
			g.untidy = true
			return nil
		}
		if err := g.store.images.Delete(ctx, i.Name); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("delete the record %s: %w", i.Name, err)
		}
	}
	return nil
}

// recordByID makes the record "sha256:<config digest>" of an image, unless one of the records is that.
func (g *guard) recordByID(ctx context.Context, img images.Image, same []images.Image) error {
	if slices.ContainsFunc(same, func(i images.Image) bool { return isID(i.Name) }) {
		return nil
	}
	config, err := img.Config(ctx, g.store.content, platforms.Default())
	if err != nil {
		return fmt.Errorf("look for the id of %s: %w", img.Name, err)
	}
	record := images.Image{Name: config.Digest.String(), Target: img.Target, Labels: map[string]string{labelManaged: managed}}
	if _, err := g.store.images.Create(ctx, record); err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("make the record %s: %w", record.Name, err)
	}
	return nil
}

func isID(name string) bool { return digest.Digest(name).Validate() == nil }
