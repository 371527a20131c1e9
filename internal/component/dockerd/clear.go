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

	"github.com/containerd/containerd/api/services/tasks/v1"
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
	return errors.Join(
		clearRootfs(ctx, rootfsDir(o), mounted, cli.TaskService()),
		unfinished{containers: containers, leases: manager, sandboxes: cli.SandboxStore(), now: time.Now()}.clear(ctx, held),
		clearLeases(ctx, filepath.Join(o.Layout.DataOf("docker"), "buildkit", "metadata_v2.db"), manager, held, hasSnapshot(cli)),
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

// clearRootfs unmounts the file systems of containers without a task: those that do not run.
func clearRootfs(ctx context.Context, dir string, mounted []string, service tasks.TasksClient) error {
	if len(mounted) == 0 {
		return nil
	}
	answer, err := service.List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return fmt.Errorf("list running containers: %w", err)
	}
	running := map[string]bool{}
	for _, task := range answer.Tasks {
		running[task.ID] = true
	}
	var errs []error
	for _, id := range mounted {
		if !running[id] {
			errs = append(errs, unmountRootfs(filepath.Join(dir, id)))
		}
	}
	return errors.Join(errs...)
}
