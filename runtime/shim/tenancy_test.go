package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
)

// upstream stands for the task service of containerd's shim.
type upstream struct{ taskService }

func (upstream) Create(context.Context, *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	return &task.CreateTaskResponse{}, nil
}

func (upstream) Delete(context.Context, *task.DeleteRequest) (*task.DeleteResponse, error) {
	return &task.DeleteResponse{}, nil
}

// server is a shared shim without sockets: what containerd calls, and what its end shows.
type server struct {
	*tenancy
	ended <-chan struct{}
	held  bool // somebody else has the lock
}

func newServer(t *testing.T) *server {
	t.Helper()
	_, end := shutdown.WithShutdown(t.Context())
	p := &server{tenancy: newTenancy(end, upstream{}), ended: end.Done()}
	p.lock = func() (func(), bool) { return func() {}, !p.held }
	t.Cleanup(func() { p.idle.Stop() })
	return p
}

// call is a request of containerd's that takes as long as answer does.
func (p *server) call(t *testing.T, answer func()) error {
	t.Helper()
	_, err := p.UnaryServerInterceptor()(t.Context(), nil, nil, func(context.Context, func(any) error) (any, error) {
		answer()
		return nil, nil
	})
	return err
}

func (p *server) create(t *testing.T, id string) {
	t.Helper()
	err := p.call(t, func() {
		if _, err := p.Create(t.Context(), &task.CreateTaskRequest{ID: id}); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func (p *server) remove(t *testing.T, r *task.DeleteRequest) {
	t.Helper()
	err := p.call(t, func() {
		if _, err := p.Delete(t.Context(), r); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// after lets time pass, and tells whether the server has ended then.
func (p *server) after(d time.Duration) bool {
	time.Sleep(d) //nolint:forbidigo // the clock is synctest's
	synctest.Wait()
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func TestAnIdleShimEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServer(t)
		if p.after(idleTime - time.Second) {
			t.Fatal("it ended too early")
		}
		_ = p.call(t, func() {})
		if p.after(idleTime - time.Second) {
			t.Fatal("it ended although it was asked")
		}
		if !p.after(time.Second) {
			t.Fatal("it did not end")
		}
		if err := errgrpc.ToNative(p.call(t, func() {})); !errdefs.IsUnavailable(err) {
			t.Errorf("asked when it was about to end it says %v", err)
		}
	})
}

func TestAShimStaysForItsContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServer(t)
		p.create(t, "a")
		p.create(t, "b")
		if p.after(time.Hour) {
			t.Fatal("it left two containers")
		}
		p.remove(t, &task.DeleteRequest{ID: "a"})
		p.remove(t, &task.DeleteRequest{ID: "b", ExecID: "shell"})
		if p.after(time.Hour) {
			t.Fatal("it left a container")
		}
		p.remove(t, &task.DeleteRequest{ID: "b"})
		if p.after(idleTime - time.Second) {
			t.Fatal("it ended too early")
		}
		if !p.after(time.Second) {
			t.Fatal("it did not end")
		}
	})
}

func TestAShimEndsNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServer(t)
		_ = p.call(t, func() {
			if p.after(time.Hour) {
				t.Fatal("it ended during a call")
			}
		})
		if !p.after(idleTime) {
			t.Fatal("it did not end")
		}
	})
}

func TestAShimStaysForOneThatStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServer(t)
		p.held = true
		if p.after(idleTime) {
			t.Fatal("it ended without the lock")
		}
		p.held = false
		if !p.after(idleTime) {
			t.Fatal("it did not end")
		}
	})
}

func TestAnEndFromOutsideWaitsForTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newServer(t)
		p.held = true
		p.end.Shutdown()
		if p.after(time.Second) {
			t.Fatal("it ended without the lock")
		}
		p.held = false
		if !p.after(time.Second) {
			t.Fatal("it did not end")
		}
		if err := p.end.Err(); !errors.Is(err, shutdown.ErrShutdown) {
			t.Error(err)
		}
	})
}
