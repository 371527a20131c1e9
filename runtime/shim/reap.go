package main

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// children guards the processes that runc's library starts and waits for by itself, as hooks are: whoever calls it
// for something that starts processes holds it for reading, and meanwhile nobody else waits for children.
var children sync.RWMutex //nolint:gochecknoglobals // a process has its children but once

// reapChildren waits for the containers' processes, and for those of upstream's task service, as upstream's own
// signal loop does (pkg/shim: reap).
func reapChildren() {
	exits := make(chan os.Signal, 32)
	signal.Notify(exits, unix.SIGCHLD)
	go func() {
		for range exits {
			reap()
		}
	}()
}

// patience is for how long the reaper lets further containers be created before it has its turn. One that waits for
// the lock keeps new readers out, so that many containers that are created at once would be created in batches.
const patience = 100 * time.Millisecond

func reap() {
	for begun := time.Now(); !children.TryLock(); <-time.After(2 * time.Millisecond) {
		if time.Since(begun) > patience {
			children.Lock()
			break
		}
	}
	defer children.Unlock()
	if err := reaper.Reap(); err != nil {
		log.L.WithError(err).Error("wait for the children that have ended")
	}
}
