// Command shim is containerd's shim for runc, able to serve many containers with one process.
//
// The containers are served by upstream's own task service (containerd cmd/containerd-shim-runc-v2). Upstream starts
// a shim for each container, or for each pod; this one, when containerd's environment has the variable
// BOXYARD_SHARED_SHIM_LOG, is started once for each of containerd's namespaces and found again by every later
// container. Without the variable it is upstream's shim and nothing else, so that either can end what the other
// has started: containerd keeps the address of each container's shim with the container.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/go-runc"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	_ "github.com/opencontainers/cgroups/devices" // rules for devices, without which the library makes no container
	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // enters the namespaces before Go's runtime starts

	"github.com/boxyard/boxyard/runtime/shim/filter"
)

// logVariable names the file that a shared shim appends its log to; where it is not set, no shim is shared. The log
// of upstream's shim goes through a pipe in its container's bundle, which a shared one would outlive.
const logVariable = "BOXYARD_SHARED_SHIM_LOG"

// filtersVariable names the directory in which a shared shim keeps compiled seccomp filters; where it is not set, each
// container compiles its own.
const filtersVariable = "BOXYARD_SHIM_FILTERS"

// runtimeName is upstream's: it is what containerd asks for.
const runtimeName = "io.containerd.runc.v2"

// The main goroutine keeps the main thread, from before main on. runc's library has a thread join each container's mount
// namespace, and lets it end with its goroutine (libcontainer/process_linux.go, goCreateMountSources). Go cannot end the
// main thread: it would stay in that namespace for as long as the shim lives, and would keep it. And it is the main
// thread's namespace that /proc/self is about.
var _ = keepMainThread()

func keepMainThread() struct{} {
	runtime.LockOSThread()
	return struct{}{}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		// This program again, as the first process of a container on its way there (runc init.go).
		if err := filter.TakeGiven(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		libcontainer.Init()
	}
	upstream := manager.NewShimManager(runtimeName)
	logFile := os.Getenv(logVariable)
	if logFile == "" {
		register(func(s shutdown.Service) shutdown.Service { return s }, func(_ shutdown.Service, s taskService) any { return s })
		shim.RunShim(context.Background(), upstream)
		return
	}
	if err := logTo(logFile); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	register(ignoreShutdown, func(end shutdown.Service, s taskService) any {
		// Upstream collects garbage when the heap has grown by 40 %, which is 2 MB: there are many shims. Here is one.
		debug.SetGCPercent(200)
		// Upstream's task service has set it to its own.
		runc.Monitor = newMonitor(runc.Monitor, newFilters(os.Getenv(filtersVariable)))
		reapChildren()
		t := newTenancy(end, s)
		t.leaveWhenAsked()
		return t
	})
	shim.RunShim(context.Background(), shared{upstream}, func(c *shim.Config) {
		c.NoSetupLogger, c.NoReaper = true, true
	})
}

// register tells the shim's plugin registry of the task service, as upstream's package task/plugin does. The task
// service is given what passDown makes of the process' shutdown service, and wrap makes of it what is served.
func register(passDown func(shutdown.Service) shutdown.Service, wrap func(shutdown.Service, taskService) any) {
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			end, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			s, err := task.NewTaskService(ic.Context, publisher.(shim.Publisher), passDown(end.(shutdown.Service)))
			if err != nil {
				return nil, err
			}
			return wrap(end.(shutdown.Service), s), nil
		},
	})
}

// newFilters returns nil where no filters are kept.
func newFilters(dir string) *filter.Cache {
	if dir == "" {
		return nil
	}
	filters, err := filter.NewCache(dir)
	if err != nil {
		log.L.WithError(err).Warn("no seccomp filters are kept; each container compiles its own")
	}
	return filters
}

func logTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the shim's log: %w", err)
	}
	if err := log.SetFormat(log.TextFormat); err != nil {
		return fmt.Errorf("set the log's format: %w", err)
	}
	log.L.Logger.SetOutput(f)
	return nil
}
