package supervisor

import "time"

// limits are the rules of restarting.
type limits struct {
	first, longest time.Duration // of the delays, which double
	budget         int           // starts in a row that may fail to become Ready
	settled        time.Duration // of being Ready, after which the past is forgotten
	failed         time.Duration // between the starts once the budget is spent
}

// history is what a component did since it was last settled.
type history struct {
	spent  int  // starts that never became Ready
	delays int  // given so far
	atOnce bool // the one restart without delay is used up
}

// crash returns the delay before the next start, and false when the budget is spent: then nobody
// should go on waiting, but what failed is still tried now and then. A disk that was full has space
// again without anyone thinking of us.
// ready is how long the component was Ready, negative when it never was.
func (h *history) crash(l limits, ready time.Duration) (time.Duration, bool) {
	if ready >= l.settled {
		*h = history{}
	}
	if ready < 0 {
		h.spent++
	}
	if h.spent >= l.budget {
		return l.failed, false
	}
	// What was Ready crashed for a reason that is mostly gone with it. Only if it crashes again
	// is it worth the wait.
	if ready >= 0 && !h.atOnce {
		h.atOnce = true
		return 0, true
	}
	delay := l.longest
	if h.delays < 16 { // further shifts would overflow
		delay = min(l.first<<h.delays, l.longest)
	}
	h.delays++
	return delay, true
}
