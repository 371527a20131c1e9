package dockerd

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/moby/moby/client"
)

// labelTemporary is on the leases of a build under way (moby/buildkit util/leaseutil).
const labelTemporary = "buildkit/lease.temporary"

// afterContainerd takes away what was cut short when containerd ended, before gone, while dockerd went on. Containers
// that were being made are cleared away beside it. What a build was using it cannot be made to give up: BuildKit
// releases it once, and containerd was away then; so dockerd is started anew. Its containers go on, and published
// ports stay open.
func (c *Component) afterContainerd(ctx context.Context, ctrd *containerd.Client, dkr *client.Client, gone time.Time) error {
	mounted, err := mountedBelow(rootfsDir(c.o))
	if err != nil {
		return err
	}
	manager := ctrd.LeasesService()
	held, err := manager.List(ctx)
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	err = unfinished{
		containers: filepath.Join(c.o.Layout.DataOf("docker"), "containers"),
		leases:     manager, sandboxes: ctrd.SandboxStore(), now: time.Now(), before: gone, inUse: mounted,
	}.clear(ctx, held)
	if err != nil {
		return err
	}
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
	if !slices.ContainsFunc(held, func(l leases.Lease) bool { return isLeftByBuild(l, known, gone) }) {
		return nil
	}
	slog.WarnContext(ctx, "builds were cut short when containerd ended; dockerd is started anew, because it keeps what they used")
	return c.signal(syscall.SIGTERM)
}

func isLeftByBuild(l leases.Lease, known map[string]buildRecord, gone time.Time) bool {
	return l.CreatedAt.Before(gone) && (l.Labels[labelTemporary] != "" || isForgotten(l, known))
}
