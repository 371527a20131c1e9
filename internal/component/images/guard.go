package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

const (
	// leaseID holds the content of needed images. containerd's garbage collection goes on from a
	// leased blob along its labels gc.ref.content.* and gc.ref.snapshot.* (core/metadata/gc.go), so
	// the target alone keeps manifests, configs, layers and the unpacked snapshots.
	leaseID = "boxyard-images"

	// restoreDelay is waited before a deleted record is made again. Docker moves a tag by deleting
	// it and creating it anew, and fails when somebody else created it in between (moby
	// daemon/containerd/image_tag.go, createOrReplaceImage).
	restoreDelay = 500 * time.Millisecond
)

// leaseManager is the part of containerd's leases.Manager that the guard needs.
type leaseManager interface {
	Create(ctx context.Context, opts ...leases.Opt) (leases.Lease, error)
	AddResource(ctx context.Context, l leases.Lease, r leases.Resource) error
	DeleteResource(ctx context.Context, l leases.Lease, r leases.Resource) error
	ListResources(ctx context.Context, l leases.Lease) ([]leases.Resource, error)
}

// store is containerd's, in the shared namespace.
type store struct {
	images  images.Store
	content contentReader
	leases  leaseManager
	// load imports the images that the payload carries, and unpacks them.
	load func(ctx context.Context) error
}

// kept is what it takes to make an image's record again.
type kept struct {
	Target ocispec.Descriptor `json:"target"`
	Labels map[string]string  `json:"labels,omitempty"`
}

// guard keeps the images that pods need. It is used by one goroutine.
type guard struct {
	store      store
	provenance *provenance
	log        *slog.Logger
	file       string   // where kept is stored
	base       []string // names that are needed always

	clock func() time.Time

	needed map[string]bool
	// mounted are those of needed that pods mount as volumes.
	mounted map[string]bool
	kept    map[string]kept // needed images, by name
	leased  map[digest.Digest]bool
	// missing has the deleted records that are about to be restored, and when.
	missing map[string]time.Time
	// pending has their targets too, for the mirror, which runs in other goroutines.
	pending sync.Map
	// pulled is when the mirror was last asked for something, in nanoseconds; it runs in other goroutines.
	pulled atomic.Int64
	// untidy is set while records wait for the end of pulls to be deleted.
	untidy bool
	// docker has the targets of the images of Docker's containers.
	docker map[digest.Digest]bool
}

func openGuard(file string, base []string, p *provenance, log *slog.Logger) (*guard, error) {
	g := &guard{
		provenance: p, log: log, file: file, base: base, clock: time.Now,
		kept: map[string]kept{}, missing: map[string]time.Time{},
	}
	g.need(nil)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of guarded images: %w", err)
	}
	if err := json.Unmarshal(data, &g.kept); err != nil || g.kept == nil {
		// It is made again from the images that are there.
		log.Warn("the list of guarded images is damaged and starts anew", "file", file, "error", err)
		g.kept = map[string]kept{}
	}
	return g, nil
}

// need sets the names that pods need, beside the base images.
func (g *guard) need(names []string) {
	g.needed = map[string]bool{}
	for _, n := range slices.Concat(g.base, names) {
		g.needed[n] = true
	}
}

// mounts sets the names of images that pods mount as volumes.
func (g *guard) mounts(names []string) {
	g.mounted = map[string]bool{}
	for _, n := range names {
		g.mounted[n] = true
	}
}

// connected starts with a containerd that is there (again): nothing is known of what happened before.
func (g *guard) connected(ctx context.Context, s store) error {
	g.store = s
	g.missing = map[string]time.Time{}
	g.pending.Clear()
	_, err := s.leases.Create(ctx, leases.WithID(leaseID))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("make the lease %s: %w", leaseID, err)
	}
	resources, err := s.leases.ListResources(ctx, leases.Lease{ID: leaseID})
	if err != nil {
		return fmt.Errorf("read the lease %s: %w", leaseID, err)
	}
	g.leased = map[digest.Digest]bool{}
	for _, r := range resources {
		g.leased[digest.Digest(r.ID)] = true
	}
	return g.reconcile(ctx)
}

// reconcile makes everything as it should be: records, lease and pins.
func (g *guard) reconcile(ctx context.Context) error {
	all, err := g.list(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(g.needed)) {
		if _, ok := all[name]; ok || !g.missing[name].IsZero() {
			continue
		}
		if err := g.restore(ctx, name); err != nil {
			return err
		}
	}
	if err := g.loadBase(ctx); err != nil {
		return err
	}
	if all, err = g.list(ctx); err != nil {
		return err
	}
	var errs []error
	for name, img := range all {
		all[name], err = g.pin(ctx, img)
		errs = append(errs, err, g.tidy(ctx, img))
		if g.wantsDigest(all[name]) {
			errs = append(errs, g.nameByDigest(ctx, all[name], all))
		}
	}
	return errors.Join(append(errs, g.keep(ctx, all))...)
}

func (g *guard) list(ctx context.Context) (map[string]images.Image, error) {
	list, err := g.store.images.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	all := make(map[string]images.Image, len(list))
	for _, img := range list {
		all[img.Name] = img
	}
	return all, nil
}

// loadBase imports the payload's images where one of them is altogether missing.
func (g *guard) loadBase(ctx context.Context) error {
	missing, err := g.missingBase(ctx)
	if err != nil || missing == "" {
		return err
	}
	g.log.Info("loading the images of the payload", "missing", missing)
	if err := g.store.load(ctx); err != nil {
		return err
	}
	if missing, err = g.missingBase(ctx); err == nil && missing != "" {
		return fmt.Errorf("the payload's images do not contain %s", missing)
	}
	return err
}

// missingBase names a base image that is not there and is not about to be restored, "" for none.
func (g *guard) missingBase(ctx context.Context) (string, error) {
	for _, name := range g.base {
		if !g.missing[name].IsZero() {
			continue
		}
		_, err := g.store.images.Get(ctx, name)
		if errdefs.IsNotFound(err) {
			return name, nil
		}
		if err != nil {
			return "", fmt.Errorf("look for image %s: %w", name, err)
		}
	}
	return "", nil
}

// changed is called when an image's record was made or changed.
func (g *guard) changed(ctx context.Context, name string) error {
	img, err := g.store.images.Get(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil // its deletion is the next event
	}
	if err != nil {
		return fmt.Errorf("look at image %s: %w", name, err)
	}
	g.found(name)
	img, err = g.pin(ctx, img)
	if g.needed[name] {
		err = errors.Join(err, g.keepOne(ctx, img))
	}
	err = errors.Join(err, g.tidy(ctx, img))
	if !g.wantsDigest(img) {
		return err
	}
	all, listErr := g.list(ctx)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	return errors.Join(err, g.nameByDigest(ctx, img, all))
}

// deleted is called when an image's record was deleted. restoreDue makes it again.
func (g *guard) deleted(name string) {
	if !g.needed[name] {
		return
	}
	g.missing[name] = g.clock().Add(restoreDelay)
	if k, ok := g.kept[name]; ok {
		g.pending.Store(name, k.Target)
	}
}

func (g *guard) found(name string) {
	delete(g.missing, name)
	g.pending.Delete(name)
}

// nextRestore is how long to wait before calling restoreDue; ok is false when nothing is missing or untidy.
func (g *guard) nextRestore() (wait time.Duration, ok bool) {
	var next time.Time
	if g.untidy {
		next = g.pullsEnd()
	}
	for _, due := range g.missing {
		if next.IsZero() || due.Before(next) {
			next = due
		}
	}
	return max(next.Sub(g.clock()), 0), !next.IsZero()
}

// restoreDue restores the records whose time has come, and tidies when pulls have ended.
func (g *guard) restoreDue(ctx context.Context) error {
	now := g.clock()
	var errs []error
	for name, due := range g.missing {
		if due.After(now) {
			continue
		}
		if g.needed[name] {
			errs = append(errs, g.restore(ctx, name))
		}
		g.found(name)
	}
	errs = append(errs, g.loadBase(ctx))
	if g.untidy && !g.pullsEnd().After(now) {
		g.untidy = false
		errs = append(errs, g.reconcile(ctx))
	}
	return errors.Join(errs...)
}

// pullsEnd is when the last pull that the mirror was asked in has ended.
func (g *guard) pullsEnd() time.Time { return time.Unix(0, g.pulled.Load()).Add(pullTime) }

// restore makes the record of a needed image again, as it was, if its content is still there.
func (g *guard) restore(ctx context.Context, name string) error {
	k, ok := g.kept[name]
	if !ok {
		return nil // it was never here
	}
	_, err := g.store.content.Info(ctx, k.Target.Digest)
	if errdefs.IsNotFound(err) {
		g.log.Warn("an image that pods need is gone", "image", name)
		delete(g.kept, name)
		return g.save()
	}
	if err != nil {
		return fmt.Errorf("look at the content of image %s: %w", name, err)
	}
	_, err = g.store.images.Create(ctx, images.Image{Name: name, Target: k.Target, Labels: k.Labels})
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore image %s: %w", name, err)
	}
	g.log.Info("restored an image that pods need", "image", name, "digest", k.Target.Digest)
	return nil
}

// keep remembers the needed images, and leases their content and nothing else.
func (g *guard) keep(ctx context.Context, all map[string]images.Image) error {
	now := map[string]kept{}
	for name := range g.needed {
		if img, ok := all[name]; ok {
			now[name] = kept{img.Target, img.Labels}
		} else if k, ok := g.kept[name]; ok && !g.missing[name].IsZero() {
			now[name] = k
		}
	}
	same := maps.EqualFunc(g.kept, now, equalKept)
	g.kept = now
	if err := g.lease(ctx); err != nil || same {
		return err
	}
	return g.save()
}

// keepOne is keep for one image that is known to have changed.
func (g *guard) keepOne(ctx context.Context, img images.Image) error {
	now := kept{img.Target, img.Labels}
	old, ok := g.kept[img.Name]
	same := ok && equalKept(old, now)
	g.kept[img.Name] = now
	if err := g.lease(ctx); err != nil || same {
		return err
	}
	return g.save()
}

// lease brings the lease to the targets of what is kept. What comes is added before what goes is
// taken away.
func (g *guard) lease(ctx context.Context) error {
	want := map[digest.Digest]bool{}
	for _, k := range g.kept {
		want[k.Target.Digest] = true
	}
	l := leases.Lease{ID: leaseID}
	for d := range want {
		if g.leased[d] {
			continue
		}
		if err := g.store.leases.AddResource(ctx, l, leases.Resource{Type: "content", ID: d.String()}); err != nil {
			return fmt.Errorf("lease %s: %w", d, err)
		}
		g.leased[d] = true
	}
	for d := range g.leased {
		if want[d] {
			continue
		}
		err := g.store.leases.DeleteResource(ctx, l, leases.Resource{Type: "content", ID: d.String()})
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("end the lease of %s: %w", d, err)
		}
		delete(g.leased, d)
	}
	return nil
}

func (g *guard) save() error {
	data, err := json.MarshalIndent(g.kept, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the list of guarded images: %w", err)
	}
	return atomicfile.Write(g.file, append(data, '\n'), 0o600)
}

func equalKept(a, b kept) bool {
	return a.Target.Digest == b.Target.Digest && maps.Equal(a.Labels, b.Labels)
}
