package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"
)

type taskService = task.TTRPCTaskService

// idleTime is how long a shared shim stays without a container and without being asked anything. It must be longer
// than containerd takes from learning the shim's address to creating the task there.
const idleTime = 30 * time.Second

// tenancy is the task service of a shared shim: upstream's, and a record of who uses it, so that it ends neither
// while there are containers nor while one is about to come.
type tenancy struct {
	taskService
	end  shutdown.Service
	lock func() (unlock func(), ok bool)

	mu         sync.Mutex
	calls      int             // being answered now; containerd waits for each container's end in one
	containers map[string]bool // those that Create made and Delete has not removed
	leaving    bool
	locked     bool
	idle       *time.Timer
}

// newTenancy serves s, and ends the process through end when it was idle for long enough.
func newTenancy(end shutdown.Service, s taskService) *tenancy {
	t := &tenancy{taskService: s, end: end, lock: tryLock, containers: map[string]bool{}}
	t.idle = time.AfterFunc(idleTime, t.leave)
	end.RegisterCallback(t.ending)
	return t
}

// RegisterTTRPC implements shim.TTRPCService.
func (t *tenancy) RegisterTTRPC(server *ttrpc.Server) error {
	task.RegisterTTRPCTaskService(server, t)
	return nil
}

// UnaryServerInterceptor implements shim.TTRPCServerUnaryOptioner.
func (t *tenancy) UnaryServerInterceptor() ttrpc.UnaryServerInterceptor {
	return func(ctx context.Context, unmarshal ttrpc.Unmarshaler, _ *ttrpc.UnaryServerInfo, method ttrpc.Method) (any, error) {
		if !t.begin() {
			return nil, errgrpc.ToGRPCf(errdefs.ErrUnavailable, "the shim is about to end")
		}
		defer t.finish()
		return method(ctx, unmarshal)
	}
}

// Connect implements the task service. Who asks for the shared shim is about to create a container.
func (t *tenancy) Connect(ctx context.Context, r *task.ConnectRequest) (*task.ConnectResponse, error) {
	if r.ID == sharedID {
		hasten()
	}
	return t.taskService.Connect(ctx, r)
}

// Create implements the task service.
func (t *tenancy) Create(ctx context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	hasten()
	answer, err := t.taskService.Create(ctx, r)
	if err == nil {
		t.mu.Lock()
		t.containers[r.ID] = true
		t.mu.Unlock()
	}
	return answer, err
}

// Exec implements the task service. The process is started by the call that comes next.
func (t *tenancy) Exec(ctx context.Context, r *task.ExecProcessRequest) (*emptypb.Empty, error) {
	hasten()
	return t.taskService.Exec(ctx, r)
}

// Delete implements the task service.
func (t *tenancy) Delete(ctx context.Context, r *task.DeleteRequest) (*task.DeleteResponse, error) {
	answer, err := t.taskService.Delete(ctx, r)
	if err == nil && r.ExecID == "" {
		t.mu.Lock()
		delete(t.containers, r.ID)
		t.mu.Unlock()
	}
	return answer, err
}

func (t *tenancy) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.leaving {
		return false
	}
	t.calls++
	t.idle.Stop()
	return true
}

func (t *tenancy) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls--
	if t.calls == 0 && len(t.containers) == 0 && !t.leaving {
		t.idle.Reset(idleTime)
	}
}

// leaveWhenAsked ends the process at SIGUSR2 as if it had been idle for long enough. SIGTERM ends it even if it has
// containers (containerd pkg/shim: handleExitSignals).
func (t *tenancy) leaveWhenAsked() {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR2)
	go func() {
		for range asked {
			t.leave()
		}
	}()
}

// leave ends the process, unless somebody came meanwhile. Whoever starts a container holds the lock while it asks
// for the shim, so that it never gets the address of one that is leaving; it stays locked until the process is gone.
func (t *tenancy) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.calls > 0 || len(t.containers) > 0 || t.leaving {
		return
	}
	if _, t.locked = t.lock(); !t.locked {
		t.idle.Reset(idleTime)
		return
	}
	t.leaving = true
	log.L.Debug("no container for a while: the shared shim ends")
	t.end.Shutdown()
}

// ending is called when the process is about to end, for whatever reason. The process removes its socket's file at
// last: with the lock it is sure not to remove that of its successor.
func (t *tenancy) ending(ctx context.Context) error {
	t.mu.Lock()
	t.leaving = true
	locked := t.locked
	t.mu.Unlock()
	for !locked {
		if _, locked = t.lock(); locked {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // end all the same
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// deaf is a shutdown service that does not listen: upstream's task service asks for the end of its process whenever
// containerd has removed a container and there is none left.
type deaf struct{ shutdown.Service }

func ignoreShutdown(s shutdown.Service) shutdown.Service { return deaf{s} }

// Shutdown implements shutdown.Service.
func (deaf) Shutdown() {}
