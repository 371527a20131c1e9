package dockerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
)

// clear takes away what a dockerd that was killed has left halfway. No dockerd runs.
func (c *Component) clear(ctx context.Context) {
	err := errors.Join(
		stepsOf(c.o).clear(ctx),
		clearRecords(ctx, c.o),
		clearNetworks(ctx, c.o),
	)
	if err != nil {
		// What is left over is no reason to go without Docker.
		slog.WarnContext(ctx, "what was cut short when dockerd ended has left something", "error", err)
	}
}

// clearRecords compares with what containerd knows: leases of builds and of containers, and file systems of
// containers. It asks containerd only where a dockerd ran before.
func clearRecords(ctx context.Context, o Options) error {
	containers := containersDir(o)
	if _, err := os.Stat(containers); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	mounted, err := mountedBelow(rootfsDir(o))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(ctx, imageNamespace), 5*time.Second)
	defer cancel()
	cli, err := containerd.New(o.Layout.ContainerdSocket(), containerd.WithTimeout(2*time.Second))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer cli.Close()
	manager := cli.LeasesService()
	held, err := listLeases(ctx, manager)
	if err != nil {
		return err
	}
	docker := o.Layout.DataOf("docker")
	// Where moby has BuildKit store its records (daemon/internal/builder-next, newSnapshotterController).
	builds := filepath.Join(docker, "buildkit")
	return errors.Join(
		taskList{docker: docker, service: cli.TaskService(), end: endTask(cli)}.clearRootfs(ctx, rootfsDir(o), mounted),
		unfinished{containers: containers, leases: manager, sandboxes: cli.SandboxStore(), now: time.Now()}.clear(ctx, held),
		clearLeases(ctx, filepath.Join(builds, "containerd-overlayfs", "metadata_v2.db"), manager, held, hasSnapshot(cli)),
		clearUnnamed(ctx, manager, held),
		clearHistory(namespaces.WithNamespace(ctx, imageNamespace+"_history"), filepath.Join(builds, "history_c8d.db"), manager),
	)
}

// listLeases waits for a containerd that starts at the same time, as after a kill of both.
func listLeases(ctx context.Context, manager leases.Manager) ([]leases.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		held, err := manager.List(ctx)
		if err == nil {
			return held, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("list leases: %w", err)
		case <-tick.C:
		}
	}
}

func hasSnapshot(cli *containerd.Client) func(ctx context.Context, name string) (bool, error) {
	return func(ctx context.Context, name string) (bool, error) {
		_, err := cli.SnapshotService("overlayfs").Stat(ctx, name)
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	}
}
