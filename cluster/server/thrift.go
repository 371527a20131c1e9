package server

import (
	"context"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

const (
	// How much the heap may grow, in percent, until garbage is collected: while the process starts, when the processor
	// is what is short; while it has much to do; and while it idles, as it does for most of its life.
	startGC, busyGC, idleGC = 400, 100, 40
	// busyShare of a processor is much to do.
	busyShare = 0.25
	// quietTime is how long it must have had less to do until it counts as idle.
	quietTime = 10
	// giveBack is how often, in seconds, an idle process gives back to the system what is free: just before the collection
	// that Go makes every two minutes anyway, and which gives nothing back of the pages between what lives.
	giveBack = 110
)

// thrift decides, once a second, whether the process saves processor time or spares memory and awakenings.
type thrift struct {
	busy  bool
	quiet int // seconds
}

// see is given the processor time of a second, in seconds. It tells whether the process has become busy or idle.
func (t *thrift) see(share float64) (changed bool) {
	if share >= busyShare {
		t.quiet = 0
		changed, t.busy = !t.busy, true
		return changed
	}
	t.quiet++
	changed = t.busy && t.quiet >= quietTime
	t.busy = t.busy && !changed
	return changed
}

// keepThrift begins when the process has started, which counts as having been busy.
func keepThrift(ctx context.Context) error {
	debug.SetGCPercent(busyGC)
	t := &thrift{busy: true}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := processorTime(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := processorTime()
		changed := t.see((now - last).Seconds())
		last = now
		switch {
		case changed && t.busy:
			debug.SetGCPercent(busyGC)
			runtime.SetDefaultGOMAXPROCS()
		case changed:
			// Whenever something wakes the process, Go's scheduler wakes a second thread too, which looks for work on
			// other processors. While there is hardly any, there is none to be found.
			runtime.GOMAXPROCS(1)
			debug.SetGCPercent(idleGC)
			debug.FreeOSMemory()
		case !t.busy && t.quiet%giveBack == 0:
			debug.FreeOSMemory()
		}
	}
}

// processorTime is what this process has used of the processors.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
