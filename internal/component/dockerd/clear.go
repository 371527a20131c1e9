package dockerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
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
	// Where moby has BuildKit store its records (daemon/internal/builder-next, newSnapshotterController).
	builds := filepath.Join(o.Layout.DataOf("docker"), "buildkit")
	return errors.Join(
		taskList{containers: containers, service: cli.TaskService(), end: endTask(cli)}.clearRootfs(ctx, rootfsDir(o), mounted),
		unfinished{containers: containers, leases: manager, sandboxes: cli.SandboxStore(), now: time.Now()}.clear(ctx, held),
		clearLeases(ctx, filepath.Join(builds, "containerd-overlayfs", "metadata_v2.db"), manager, held, hasSnapshot(cli)),
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

// clearRootfs unmounts the file systems of containers that do not run. Running is what has a task that was started, and
// what Docker's own record says to run: dockerd writes it after it has started the task (moby daemon/start.go). Where it
// was killed in between, nobody was told of a start, and the next dockerd says that the container does not run; its task,
// which would stay for good, is ended.
func (t taskList) clearRootfs(ctx context.Context, dir string, mounted []string) error {
	if len(mounted) == 0 {
		return nil
	}
	answer, err := t.service.List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return fmt.Errorf("list running containers: %w", err)
	}
	states := map[string]task.Status{}
	for _, process := range answer.Tasks {
		states[process.ID] = process.Status
	}
	var errs []error
	for _, id := range mounted {
		if state, ok := states[id]; ok {
			runs, err := isRecordedRunning(t.containers, id)
			if err == nil && runs && state != task.Status_CREATED {
				continue
			}
			if err == nil {
				err = t.end(ctx, id)
			}
			if err != nil {
				errs = append(errs, err)
				continue
			}
		}
		errs = append(errs, unmountRootfs(filepath.Join(dir, id)))
	}
	return errors.Join(errs...)
}

// taskList is containerd's of Docker's containers.
type taskList struct {
	containers string // the directory of dockerd's containers
	service    tasks.TasksClient
	end        func(ctx context.Context, id string) error // kills and deletes a task
}

// isRecordedRunning reads the record of a container that dockerd reads when it starts (moby daemon/container).
func isRecordedRunning(containers, id string) (bool, error) {
	data, err := os.ReadFile(filepath.Join(containers, id, "config.v2.json"))
	if err != nil {
		return false, err
	}
	var record struct{ State struct{ Running bool } }
	if err := json.Unmarshal(data, &record); err != nil {
		return false, fmt.Errorf("read the record of the container %s: %w", id, err)
	}
	return record.State.Running, nil
}

// endTask is content where there is none.
func endTask(cli *containerd.Client) func(ctx context.Context, id string) error {
	return func(ctx context.Context, id string) error {
		container, err := cli.LoadContainer(ctx, id)
		if err == nil {
			var t containerd.Task
			if t, err = container.Task(ctx, nil); err == nil {
				_, err = t.Delete(ctx, containerd.WithProcessKill)
			}
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("end the container %s, which was being started when dockerd ended: %w", id, err)
		}
		return nil
	}
}
