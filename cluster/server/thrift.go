package server

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

const (
	// How much the heap may grow, in percent, until garbage is collected: while the process starts, when the processor
	// is what is short; while it has much to do; and while it idles, as it does for most of its life.
	startGC, busyGC, idleGC = 400, 100, 40
	// busyShare of a processor is much to do.
	busyShare = 0.25
	// quietTime is how long, in seconds, it must have had less to do until it counts as idle; attention is how long it is
	// awake for something that turns out not to be much.
	quietTime, attention = 10, 2
	// giveBack is how often, in seconds, an idle process gives back to the system what is free: just before the collection
	// that Go makes every two minutes anyway, and which gives nothing back of the pages between what lives.
	giveBack = 110
)

// How much later than asked a sleep may end: usually, which is the kernel's default, and while the process idles, so that
// several end together.
const usualSlack, idleSlack = 50 * time.Microsecond, 20 * time.Millisecond

// thrift decides, once a second, whether the process saves processor time or spares memory and awakenings.
type thrift struct {
	busy   bool
	much   bool // it had much to do since it became busy
	quiet  int  // seconds
	sleep  bool // what may make the first moment of work slower is done too
	roused chan struct{}
}

// newThrift begins as busy: the process is starting.
func newThrift(sleep bool) *thrift {
	return &thrift{busy: true, much: true, sleep: sleep, roused: make(chan struct{}, 1)}
}

// attend makes the process busy for a moment, in which it shows whether there is much to do.
func (t *thrift) attend() (changed bool) {
	t.quiet = min(t.quiet, quietTime-attention)
	changed, t.busy = !t.busy, true
	return changed
}

// rouse tells that there is something to do. It may be called at any time, from anywhere.
func (t *thrift) rouse() {
	select {
	case t.roused <- struct{}{}:
	default: // it has been told
	}
}

// see is given the processor time of a second, in seconds. It tells whether the process has become busy or idle.
func (t *thrift) see(share float64) (changed bool) {
	if share >= busyShare {
		t.quiet, t.much = 0, true
		changed, t.busy = !t.busy, true
		return changed
	}
	t.quiet++
	changed = t.busy && t.quiet >= quietTime
	t.busy = t.busy && !changed
	return changed
}

// keep begins when the process has started.
func (t *thrift) keep(ctx context.Context) error {
	debug.SetGCPercent(busyGC)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := processorTime(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-t.roused:
			if t.attend() {
				t.work()
			}
			continue
		case <-tick.C:
		}
		now := processorTime()
		changed := t.see((now - last).Seconds())
		last = now
		switch {
		case changed && t.busy:
			t.work()
		case changed:
			t.rest()
		case !t.busy && t.quiet%giveBack == 0:
			debug.FreeOSMemory()
		}
	}
}

func (t *thrift) work() {
	debug.SetGCPercent(busyGC)
	if t.sleep {
		runtime.SetDefaultGOMAXPROCS()
		setTimerSlack(usualSlack)
	}
}

func (t *thrift) rest() {
	if t.sleep {
		// Whenever something wakes the process, Go's scheduler wakes a second thread too, which looks for work on
		// other processors. While there is hardly any, there is none to be found.
		runtime.GOMAXPROCS(1)
		setTimerSlack(idleSlack)
	}
	debug.SetGCPercent(idleGC)
	if t.much {
		t.much = false
		debug.FreeOSMemory()
	}
}

// setTimerSlack sets it for all threads (proc_pid_timerslack_ns(5)). Where the kernel does not let us, sleeps end when
// they should.
func setTimerSlack(slack time.Duration) {
	// A thread has the slack of the one that made it: twice, for those made meanwhile.
	for range 2 {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		for _, thread := range threads {
			_ = os.WriteFile("/proc/"+thread.Name()+"/timerslack_ns", []byte(strconv.FormatInt(slack.Nanoseconds(), 10)), 0)
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
