package dockerd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/leases"
	"google.golang.org/grpc"

	"golang.org/x/sys/unix"
)

// startingLeases answer from the third call on.
type startingLeases struct {
	leases.Manager
	calls int
}

func (s *startingLeases) List(context.Context, ...string) ([]leases.Lease, error) {
	if s.calls++; s.calls < 3 {
		return nil, errors.New("away")
	}
	return []leases.Lease{{ID: "one"}}, nil
}

func TestListLeasesWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if held, err := listLeases(t.Context(), &startingLeases{}); err != nil || len(held) != 1 {
			t.Errorf("got %v, %v", held, err)
		}
		if _, err := listLeases(t.Context(), &startingLeases{calls: -1000}); err == nil {
			t.Error("no error when containerd stays away")
		}
	})
}

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
