package daemon

import (
	"context"
	"sync"

	"github.com/boxyard/boxyard/internal/controlapi"
)

// keptEvents bounds the memory of a part that restarts for weeks.
const keptEvents = 1000

// eventLog keeps the last events and gives them, and the live ones, to any number of readers.
type eventLog struct {
	mu      sync.Mutex
	first   int // number of events that were dropped
	events  []controlapi.Event
	changed chan struct{} // closed and replaced at each event
}

func newEventLog() *eventLog { return &eventLog{changed: make(chan struct{})} }

func (l *eventLog) add(e controlapi.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	if n := len(l.events) - keptEvents; n > 0 {
		l.events = append(l.events[:0], l.events[n:]...)
		l.first += n
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// after returns the events from number next on, the number that comes then, and what to wait for.
func (l *eventLog) after(next int) ([]controlapi.Event, int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = max(next, l.first)
	fresh := append([]controlapi.Event(nil), l.events[next-l.first:]...)
	return fresh, next + len(fresh), l.changed
}

// follow gives the past events, then live ones, until ctx is done.
func (l *eventLog) follow(ctx context.Context) <-chan controlapi.Event {
	out := make(chan controlapi.Event)
	go func() {
		defer close(out)
		next := 0
		for {
			var fresh []controlapi.Event
			var changed <-chan struct{}
			fresh, next, changed = l.after(next)
			for _, e := range fresh {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
