package supervisor

import (
	"context"
	"log/slog"
	"slices"
	"time"
)

// keptEvents is how many past events a new listener gets.
const keptEvents = 500

// set moves u to a state and tells so. With from given, nothing happens unless u is in one of them.
func (s *Supervisor) set(u *unit, to State, reason string, from ...State) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setLocked(u, to, reason, from...)
}

func (s *Supervisor) setLocked(u *unit, to State, reason string, from ...State) bool {
	if len(from) > 0 && !slices.Contains(from, u.state) {
		return false
	}
	if u.state == to {
		return true
	}
	e := Event{Time: time.Now(), Component: u.Name(), From: u.state, To: to, Reason: reason}
	u.state, u.since = to, e.Time
	if len(s.events) == keptEvents {
		s.events = slices.Delete(s.events, 0, 1)
	}
	s.events = append(s.events, e)
	s.total++
	close(s.changed)
	s.changed = make(chan struct{})
	s.log(e)
	return true
}

func (s *Supervisor) log(e Event) {
	level := slog.LevelInfo
	if e.To == Degraded || e.To == Backoff || e.To == Failed {
		level = slog.LevelWarn
	}
	s.logger.Log(context.Background(), level, string(e.To), "component", e.Component, "was", string(e.From), "reason", e.Reason)
}

// Events gives the past events that are kept, oldest first, then the live ones. The channel is
// closed when ctx is done. A listener that falls behind by more than what is kept loses the oldest.
func (s *Supervisor) Events(ctx context.Context) <-chan Event {
	out := make(chan Event)
	go func() {
		defer close(out)
		next := 0
		for {
			events, total, changed := s.eventsSince(next)
			next = total
			for _, e := range events {
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

// eventsSince returns the kept events from number next on, how many there were in all, and what
// is closed with the next one.
func (s *Supervisor) eventsSince(next int) ([]Event, int, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.total - len(s.events)
	return slices.Clone(s.events[max(next-oldest, 0):]), s.total, s.changed
}
