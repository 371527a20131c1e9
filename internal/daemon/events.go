package daemon

import (
	"context"
	"slices"
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
	ended   bool
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

// end says that no more will come: readers end when they have had what there is.
func (l *eventLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	close(l.changed)
	l.changed = make(chan struct{})
}

// after returns the events from number next on, and what to wait for: nil when no more will come.
func (l *eventLog) after(next int) (fresh []controlapi.Event, then int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	next = max(next, l.first)
	fresh = slices.Clone(l.events[next-l.first:])
	if l.ended {
		return fresh, next + len(fresh), nil
	}
	return fresh, next + len(fresh), l.changed
}

// follow gives the past events, then live ones, until there are no more or ctx is done.
func (l *eventLog) follow(ctx context.Context) <-chan controlapi.Event {
	out := make(chan controlapi.Event)
	go func() {
		defer close(out)
		next := 0
		for {
			fresh, then, changed := l.after(next)
			next = then
			for _, e := range fresh {
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
			if changed == nil {
				return
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
