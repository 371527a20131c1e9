package dockerd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

type fakeTasks struct {
	tasks.TasksClient
	states map[string]task.Status
	err    error
}

func (f fakeTasks) List(context.Context, *tasks.ListTasksRequest, ...grpc.CallOption) (*tasks.ListTasksResponse, error) {
	var answer tasks.ListTasksResponse
	for id, state := range f.states {
		answer.Tasks = append(answer.Tasks, &task.Process{ID: id, Status: state})
	}
	return &answer, f.err
}

// What is mounted here is nothing, so that an attempt to unmount it fails, as any user's does.
func TestClearRootfs(t *testing.T) {
	docker := t.TempDir()
	for id, record := range map[string]string{
		"runs":     `{"State":{"Running":true}}`,
		"starting": `{"State":{"Running":false}}`,
		"again":    `{"State":{"Running":true,"Restarting":true}}`,
		"left":     `{"State":{"Running":true}}`,
		"broken":   `{`,
	} {
		dir := filepath.Join(docker, "containers", id)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "config.v2.json"), []byte(record), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := fakeTasks{states: map[string]task.Status{
		"runs": task.Status_RUNNING, "other": task.Status_RUNNING, "starting": task.Status_RUNNING, "again": task.Status_CREATED,
		"broken": task.Status_RUNNING,
	}}
	for _, tt := range []struct {
		id             string
		ends, unmounts bool
	}{
		{id: "runs"},
		{id: "starting", ends: true, unmounts: true},
		{id: "again", ends: true, unmounts: true},
		{id: "left", unmounts: true},
		{id: "broken"}, // it is not touched
	} {
		var ended []string
		end := func(_ context.Context, id string) error { ended = append(ended, id); return nil }
		err := taskList{docker, list, end}.clearRootfs(t.Context(), t.TempDir(), []string{tt.id})
		if _, tried := errors.AsType[unix.Errno](err); tried != tt.unmounts {
			t.Errorf("%s: unmounted %v, want %v: %v", tt.id, tried, tt.unmounts, err)
		}
		if (len(ended) == 1 && ended[0] == tt.id) != tt.ends {
			t.Errorf("%s: ended %v", tt.id, ended)
		}
		if tt.id == "broken" && err == nil {
			t.Error("no error where a record cannot be read")
		}
	}
	away := errors.New("away")
	if err := (taskList{docker, fakeTasks{err: away}, nil}).clearRootfs(t.Context(), t.TempDir(), []string{"left"}); !errors.Is(err, away) {
		t.Errorf("without containerd: %v", err)
	}
}
