package dockerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// labelTemporary is on the leases of a build under way (moby/buildkit util/leaseutil).
const labelTemporary = "buildkit/lease.temporary"

// afterContainerd takes away what was cut short when containerd ended, before gone, while dockerd went on. Containers
// that were being made are cleared away beside it. What a build was using it cannot be made to give up: BuildKit
// releases it once, and containerd was away then; so dockerd is started anew, and likewise where it contradicts itself.
// Its containers go on, and published ports stay open.
func (c *Component) afterContainerd(ctx context.Context, ctrd *containerd.Client, dkr *client.Client, gone time.Time) error {
	held, err := ctrd.LeasesService().List(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	old := slices.DeleteFunc(slices.Clone(held), func(l leases.Lease) bool { return !l.CreatedAt.Before(gone) })
	return errors.Join(
		c.clearUnfinished(ctx, ctrd, held, gone),
		clearUnnamed(ctx, ctrd.LeasesService(), old),
		c.restartIfLeft(ctx, dkr, old),
	)
}

// clearUnfinished clears away the containers that were being made or removed when containerd ended.
func (c *Component) clearUnfinished(ctx context.Context, ctrd *containerd.Client, held []leases.Lease, gone time.Time) error {
	mounted, err := mountedBelow(rootfsDir(c.o))
	if err != nil {
		return err
	}
	return unfinished{
		containers: containersDir(c.o),
		leases:     ctrd.LeasesService(), sandboxes: ctrd.SandboxStore(), now: time.Now(), before: gone, inUse: mounted,
	}.clear(ctx, held)
}

// restartIfLeft starts dockerd anew where builds have left some of the leases, or it contradicts itself.
func (c *Component) restartIfLeft(ctx context.Context, dkr *client.Client, old []leases.Lease) error {
	steps, err := stepsOf(c.o).list()
	if err != nil || len(steps) > 0 {
		return err // a build that outlived containerd is worth more than what another has left
	}
	usage, err := dkr.DiskUsage(ctx, client.DiskUsageOptions{BuildCache: true, Verbose: true})
	if err != nil {
		return fmt.Errorf("list what builds keep: %w", err)
	}
	known := map[string]buildRecord{}
	for _, record := range usage.BuildCache.Items {
		known[record.ID] = buildRecord{}
	}
	left := slices.ContainsFunc(old, func(l leases.Lease) bool { return isLeftByBuild(l, known) })
	half, err := halfRemoved(ctx, dkr)
	if err != nil || !left && half == "" {
		return err
	}
	slog.WarnContext(ctx, "something was cut short when containerd ended, and dockerd keeps what it left; dockerd is started anew",
		"builds", left, "container", half)
	return c.signal(syscall.SIGTERM)
}

// halfRemoved names a container that dockerd lists and does not know: it was made or removed while containerd ended.
// It can neither be started nor removed, and its name stays taken. "": there is none.
func halfRemoved(ctx context.Context, dkr *client.Client) (string, error) {
	list, err := dkr.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return "", fmt.Errorf("list Docker's containers: %w", err)
	}
	var half string
	for _, listed := range list.Items {
		if _, err := dkr.ContainerInspect(ctx, listed.ID, client.ContainerInspectOptions{}); errdefs.IsNotFound(err) {
			half = listed.ID
		}
	}
	if half == "" {
		return "", nil
	}
	// One that was removed in the ordinary way since is not listed any more.
	again, err := dkr.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("id", half)})
	if err != nil || len(again.Items) == 0 {
		return "", err
	}
	return half, nil
}

func isLeftByBuild(l leases.Lease, known map[string]buildRecord) bool {
	return l.Labels[labelTemporary] != "" || isForgotten(l, known)
}
