package node

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDemand()
		p := &pace{demand: d}
		waits := func(work, want time.Duration) {
			t.Helper()
			<-time.After(work)
			start := time.Now()
			p.wait()
			if got := time.Since(start); got != want {
				t.Errorf("paused for %v, want %v", got, want)
			}
		}
		waits(0, paceUpstream) // as if somebody had just waited
		<-time.After(paceAfter)
		p.wait()
		waits(0, paceIdle)

		d.begin()
		waits(0, paceBusy)
		waits(20*time.Millisecond, 20*paceShare*time.Millisecond)
		waits(time.Second, paceUpstream)
		d.end()
		waits(0, paceUpstream)
		<-time.After(paceAfter)
		p.wait()
		waits(0, paceIdle)

		time.AfterFunc(30*time.Millisecond, d.begin)
		waits(0, 30*time.Millisecond) // an idle loop is woken
	})
}

func TestPassIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDemand()
		p := &pace{demand: d}
		pass := d.pass()
		p.wait()
		select {
		case <-pass:
		default:
			t.Error("nobody was told")
		}
	})
}
