package node

import (
	"sync"
	"time"
)

const (
	// paceBusy is the least pause of a loop while somebody waits for what it does.
	paceBusy = 5 * time.Millisecond
	// paceShare is how many times as long as its work a loop pauses at least, so that it never takes more of the
	// processor than a small part, however much it has to look at.
	paceShare = 3
	// paceUpstream is upstream's pause: the longest while somebody waits, and for paceAfter after that.
	paceUpstream = 100 * time.Millisecond
	paceAfter    = 10 * time.Second
	// paceIdle is the pause when nobody has waited for a while.
	paceIdle = time.Second
)

// demand is who waits for what loops do. They look often while somebody does, and seldom otherwise.
type demand struct {
	mu      sync.Mutex
	waiting int
	last    time.Time     // when the last one ceased to wait
	begun   chan struct{} // closed when somebody begins to wait
	passed  chan struct{} // closed when a loop has done its work once more
}

// newDemand begins as if somebody had just waited.
func newDemand() *demand {
	return &demand{last: time.Now(), begun: make(chan struct{}), passed: make(chan struct{})}
}

// begin is called by who is about to wait, and end when it has what it waited for.
func (d *demand) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting++
	close(d.begun)
	d.begun = make(chan struct{})
}

func (d *demand) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting--
	d.last = time.Now()
}

// pass is closed when a loop has done its work once more.
func (d *demand) pass() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

// pace is one loop's view of the demand.
type pace struct {
	demand *demand
	began  time.Time // its work, or never
}

// wait is called by the loop before each time that it works, and returns when it is to work.
func (p *pace) wait() {
	took := time.Duration(0)
	if !p.began.IsZero() {
		took = time.Since(p.began)
	}
	pause, begun := p.next(took)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-begun:
	}
	p.began = time.Now()
}

// next tells those who wait that the work is done, for which the loop has taken so long, and says how long it pauses
// unless somebody begins to wait.
func (p *pace) next(took time.Duration) (pause time.Duration, begun <-chan struct{}) {
	d := p.demand
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.passed)
	d.passed = make(chan struct{})
	switch {
	case d.waiting > 0:
		pause = min(max(paceBusy, paceShare*took), paceUpstream)
	case time.Since(d.last) < paceAfter:
		pause = paceUpstream
	default:
		pause = paceIdle
	}
	return pause, d.begun
}
