package dockerd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/container"
)

// rootfsDir is where dockerd mounts the file systems of containers, each at its container's ID
// (moby daemon/snapshotter, mounter.target).
func rootfsDir(o Options) string {
	return filepath.Join(o.Layout.DataOf("docker"), "rootfs", "overlayfs")
}

// mountedBelow names the directories right below dir at which something is mounted.
func mountedBelow(dir string) ([]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("read the mounts below %s: %w", dir, err)
	}
	var names []string
	for _, m := range mounts {
		if filepath.Dir(m.Mountpoint) == dir {
			names = append(names, filepath.Base(m.Mountpoint))
		}
	}
	return names, nil
}

// unmountRootfs takes away the file system of a container that does not run. One that is left by a dockerd which was
// killed while the container started stays for good otherwise: the next dockerd counts it as somebody's use
// (moby daemon/internal/mountref), and so never unmounts it, not even when the container is removed.
func unmountRootfs(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	// Only the empty directory; what lies in one that is not would be lost.
	return removeEmpty(path)
}

// taskList is containerd's of Docker's containers.
type taskList struct {
	docker  string // dockerd's data directory
	service tasks.TasksClient
	end     func(ctx context.Context, id string) error // kills and deletes a task
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
			runs, err := container.Running(t.docker, id)
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

// endTask is content where there is none.
func endTask(cli *containerd.Client) func(ctx context.Context, id string) error {
	return func(ctx context.Context, id string) error {
		loaded, err := cli.LoadContainer(ctx, id)
		if err == nil {
			var t containerd.Task
			if t, err = loaded.Task(ctx, nil); err == nil {
				_, err = t.Delete(ctx, containerd.WithProcessKill)
			}
		}
		if err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("end the container %s, which was being started when dockerd ended: %w", id, err)
		}
		return nil
	}
}
