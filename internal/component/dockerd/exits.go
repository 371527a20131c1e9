package dockerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/events"
	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/moby/moby/client"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	exitTopic = "/tasks/exit" // containerd core/runtime/events.go: TaskExitEventTopic
	// An exit that nobody saw has no code any more; containerd itself takes this one then
	// (pkg/shim delete: 128 + SIGKILL).
	lostExitCode = 137
	// After containerd is back it needs a moment to clear away dead shims, and dockerd one to listen
	// again (it dials with a backoff of up to 3 s): what is told before that is lost too.
	settle = 12 * time.Second
)

// exitWatch tells dockerd of containers that ended while containerd was away. dockerd learns
// of an exit by an event only (moby daemon/internal/libcontainerd/remote/client.go,
// processEventStream), subscribes again when containerd is back, and never compares: such a container would be
// shown as running for ever, and its restart policy would not apply. So this compares, and
// publishes the missing event through containerd.
type exitWatch struct {
	containerd, docker string // sockets
	// settled is called once after containerd went away and came back, when it and dockerd work again; gone is a
	// moment at which the former containerd had ended.
	settled func(ctx context.Context, ctrd *containerd.Client, dkr *client.Client, gone time.Time) error

	last  listener  // the containerd seen last
	gone  time.Time // zero: nothing is to be settled
	until time.Time
}

func (w *exitWatch) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		// An error is containerd or dockerd being away, which others report; the next round looks again.
		_ = w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *exitWatch) look(ctx context.Context) error {
	server, err := listenerOf(w.containerd)
	if err != nil {
		return err
	}
	now := time.Now()
	if w.last != (listener{}) && w.last != server {
		w.gone, w.until = now, now.Add(settle)
	}
	w.last = server
	if w.gone.IsZero() {
		return nil
	}
	ctx, cancel := context.WithTimeout(namespaces.WithNamespace(ctx, imageNamespace), 5*time.Second)
	defer cancel()
	ctrd, err := containerd.New(w.containerd, containerd.WithTimeout(time.Second))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer ctrd.Close()
	dkr, err := client.New(client.WithHost("unix://" + w.docker))
	if err != nil {
		return fmt.Errorf("connect to dockerd: %w", err)
	}
	defer dkr.Close()
	if err := tellLostExits(ctx, ctrd, dkr); err != nil || now.Before(w.until) {
		return err
	}
	// Once: what cannot be settled now is settled when dockerd starts the next time.
	gone := w.gone
	w.gone = time.Time{}
	if err := w.settled(ctx, ctrd, dkr, gone); err != nil {
		slog.WarnContext(ctx, "what was cut short when containerd ended has left something", "error", err)
	}
	return nil
}

// listener tells one server on a path from the next one: each makes its socket anew (containerd pkg/sys,
// CreateUnixSocket). To look at the file costs nothing, as a connection would once a second.
type listener struct {
	device, inode uint64
	made          syscall.Timespec
}

func listenerOf(socket string) (listener, error) {
	info, err := os.Stat(socket)
	if err != nil {
		return listener{}, fmt.Errorf("look for containerd: %w", err)
	}
	file, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return listener{}, errors.New("this system has no inodes")
	}
	return listener{device: file.Dev, inode: file.Ino, made: file.Mtim}, nil
}

// tellLostExits asks dockerd first and containerd second, and dockerd again about what differs:
// an exit that takes its ordinary course in between is not mistaken for a lost one.
func tellLostExits(ctx context.Context, ctrd *containerd.Client, dkr *client.Client) error {
	running, err := dkr.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return fmt.Errorf("list Docker's containers: %w", err)
	}
	list, err := ctrd.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return fmt.Errorf("list containerd's tasks: %w", err)
	}
	byID := map[string]*task.Process{}
	for _, t := range list.GetTasks() {
		byID[t.GetID()] = t
	}
	var errs []error
	for _, c := range running.Items {
		t := byID[c.ID]
		if t != nil && t.GetStatus() != task.Status_STOPPED {
			continue
		}
		now, err := dkr.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if s := now.Container.State; s.Running && !alive(s.Pid) {
			errs = append(errs, ctrd.EventService().Publish(ctx, exitTopic, exitEvent(c.ID, s.Pid, t)))
		}
	}
	return errors.Join(errs...)
}

// exitEvent is the event of the main process of container id; t may be nil.
func exitEvent(id string, pid int, t *task.Process) *events.TaskExit {
	e := &events.TaskExit{ContainerID: id, ID: id, Pid: uint32(pid), ExitStatus: lostExitCode, ExitedAt: timestamppb.Now()}
	if t != nil {
		e.ExitStatus = t.GetExitStatus()
		e.ExitedAt = t.GetExitedAt()
	}
	return e
}

func alive(pid int) bool {
	_, err := os.Stat("/proc/" + strconv.Itoa(pid))
	return err == nil
}
