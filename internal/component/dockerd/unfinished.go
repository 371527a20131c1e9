package dockerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/sandbox"
)

// containerID is the form of moby's (internal/stringid) and of CRI's identifiers.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// containersDir is of dockerd's containers: a directory each.
func containersDir(o Options) string { return filepath.Join(o.Layout.DataOf("docker"), "containers") }

// unfinished are containers that dockerd was making or removing when it was killed (moby daemon/create.go, delete.go):
// first there is a lease with the container's ID as its name, which holds the snapshots, then a directory, and at last
// the file that makes a container of both. Of one that is removed the lease goes first and then the directory, in any
// order of its files. Without that file the next dockerd knows nothing of them, and nobody can remove them.
type unfinished struct {
	containers string // the directory of dockerd's containers
	leases     leases.Manager
	sandboxes  sandbox.Store // CRI's pods have leases of the same form
	now        time.Time
	// before is not zero while dockerd runs: younger ones may be in the making, and so may those in use.
	before time.Time
	inUse  []string
}

// clear deletes what is unfinished among the leases held.
func (u unfinished) clear(ctx context.Context, held []leases.Lease) error {
	entries, err := readDir(u.containers)
	if err != nil {
		return err
	}
	whole := map[string]bool{}
	var errs []error
	for _, entry := range entries {
		dir := filepath.Join(u.containers, entry.Name())
		if _, err := os.Stat(filepath.Join(dir, "config.v2.json")); !errors.Is(err, os.ErrNotExist) || u.inTheMaking(entry) {
			whole[entry.Name()] = true
		} else if containerID.MatchString(entry.Name()) {
			removed := !slices.ContainsFunc(held, func(l leases.Lease) bool { return l.ID == entry.Name() })
			errs = append(errs, removeUnfinished(dir, removed))
		}
	}
	held = slices.DeleteFunc(slices.Clone(held), func(l leases.Lease) bool {
		return !containerID.MatchString(l.ID) || len(l.Labels) > 0 || whole[l.ID] ||
			!u.before.IsZero() && l.CreatedAt.After(u.before) || slices.Contains(u.inUse, l.ID)
	})
	if len(held) == 0 {
		return errors.Join(errs...)
	}
	pods, err := u.sandboxes.List(ctx)
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("list pods: %w", err))...)
	}
	for _, lease := range held {
		if slices.ContainsFunc(pods, func(p sandbox.Sandbox) bool { return p.ID == lease.ID }) {
			continue
		}
		ours, err := u.isOurs(ctx, lease)
		if err == nil && ours {
			err = u.leases.Delete(ctx, lease, leases.SynchronousDelete)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (u unfinished) inTheMaking(entry os.DirEntry) bool {
	if u.before.IsZero() {
		return false
	}
	info, err := entry.Info()
	return err != nil || info.ModTime().After(u.before) || slices.Contains(u.inUse, entry.Name())
}

// isOurs knows dockerd's leases by the snapshot that it makes below each container's own. One without anything may be
// of a pod that is just being made: CRI writes the pod's record right after its lease. Some seconds later it is not.
func (u unfinished) isOurs(ctx context.Context, lease leases.Lease) (bool, error) {
	resources, err := u.leases.ListResources(ctx, lease)
	if err != nil {
		return false, fmt.Errorf("list what the lease %s holds: %w", lease.ID, err)
	}
	if len(resources) == 0 {
		return u.now.Sub(lease.CreatedAt) > 10*time.Second, nil
	}
	return slices.ContainsFunc(resources, func(r leases.Resource) bool {
		return r.ID == lease.ID+"-init" || r.ID == lease.ID+"-init-key"
	}), nil
}

// removeUnfinished deletes the directory of a container that was being removed, or of one that was being made, where
// there is nothing in it yet but what dockerd writes before the container's own file (moby container/container.go,
// toDisk, by moby/sys/atomicwriter).
func removeUnfinished(dir string, removed bool) error {
	if removed {
		return os.RemoveAll(dir)
	}
	for _, pattern := range []string{"hostconfig.json", ".tmp-hostconfig.json*", ".tmp-config.v2.json*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return errors.Join(removeEmpty(filepath.Join(dir, "checkpoints")), removeEmpty(dir))
}

// removeEmpty is content where there is nothing, and deletes no content.
func removeEmpty(dir string) error {
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
