package dockerd

import (
	"context"
	"errors"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"google.golang.org/grpc"

	"golang.org/x/sys/unix"
)

type fakeTasks struct {
	tasks.TasksClient
	ids []string
	err error
}

func (f fakeTasks) List(context.Context, *tasks.ListTasksRequest, ...grpc.CallOption) (*tasks.ListTasksResponse, error) {
	var answer tasks.ListTasksResponse
	for _, id := range f.ids {
		answer.Tasks = append(answer.Tasks, &task.Process{ID: id})
	}
	return &answer, f.err
}

// What is mounted here is nothing, so that an attempt to unmount it fails, as any user's does.
func TestClearRootfs(t *testing.T) {
	if err := clearRootfs(t.Context(), t.TempDir(), []string{"runs"}, fakeTasks{ids: []string{"runs", "other"}}); err != nil {
		t.Errorf("the file system of a container that runs: %v", err)
	}
	err := clearRootfs(t.Context(), t.TempDir(), []string{"runs", "left"}, fakeTasks{ids: []string{"runs"}})
	if _, tried := errors.AsType[unix.Errno](err); !tried {
		t.Errorf("the file system of a container that does not run was left alone: %v", err)
	}
	away := errors.New("away")
	if err := clearRootfs(t.Context(), t.TempDir(), []string{"left"}, fakeTasks{err: away}); !errors.Is(err, away) {
		t.Errorf("without containerd: %v", err)
	}
}
