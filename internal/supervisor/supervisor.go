package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// ErrRestart is the cause (context.Cause) of the cancelled context of a component that was asked
// to restart, so that it can tell a restart from the end of everything.
var ErrRestart = errors.New("restart was asked for")

// Supervisor runs components. Its methods may be called from any goroutine.
type Supervisor struct {
	logger      *slog.Logger
	limits      limits
	healthEvery time.Duration
	units       []*unit
	stopping    chan struct{} // closed when everything is to stop

	mu      sync.Mutex
	started bool
	events  []Event       // the last keptEvents
	total   int           // events ever
	changed chan struct{} // closed and replaced with each event
}

// Option changes a default.
type Option func(*Supervisor)

// WithBackoff sets the first and the longest delay before a restart; they default to 200 ms and
// 10 s. Each delay is twice the one before.
func WithBackoff(first, longest time.Duration) Option {
	return func(s *Supervisor) { s.limits.first, s.limits.longest = first, longest }
}

// WithBudget sets how many starts in a row may fail to become Ready before the component is Failed,
// and how long it must be Ready for the count to begin anew; they default to 8 and 10 s.
// A Failed component is started again every 30 s: what it lacks, such as space on a disk, may come back.
func WithBudget(starts int, settled time.Duration) Option {
	return func(s *Supervisor) { s.limits.budget, s.limits.settled = starts, settled }
}

// WithHealthEvery sets the time between two health checks, by default 5 s.
func WithHealthEvery(d time.Duration) Option {
	return func(s *Supervisor) { s.healthEvery = d }
}

// New checks the graph of requirements: an unknown or cyclic one is an error. Nothing is started.
func New(logger *slog.Logger, comps []Component, opts ...Option) (*Supervisor, error) {
	units, err := newUnits(comps)
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		logger:      logger,
		limits:      limits{first: 200 * time.Millisecond, longest: 10 * time.Second, budget: 8, settled: 10 * time.Second, failed: 30 * time.Second},
		healthEvery: 5 * time.Second,
		units:       units,
		stopping:    make(chan struct{}),
		changed:     make(chan struct{}),
	}
	for _, o := range opts {
		o(s)
	}
	return s, nil
}

// Run starts the components and keeps them running until ctx is done. Then it stops each as soon
// as those that require it have stopped, and returns when all have. The cause of ctx is passed on
// to them. The error is what went wrong while stopping.
func (s *Supervisor) Run(ctx context.Context) error {
	s.mu.Lock()
	again := s.started
	s.started = true
	s.mu.Unlock()
	if again {
		return errors.New("the supervisor has run already")
	}
	defer context.AfterFunc(ctx, func() { close(s.stopping) })()

	errs := make([]error, len(s.units))
	var wg sync.WaitGroup
	for i, u := range s.units {
		wg.Go(func() { errs[i] = s.supervise(ctx, u) })
	}
	<-ctx.Done()
	wg.Wait()
	return errors.Join(errs...)
}

// Restart stops one component, if it runs, and starts it with a fresh budget; the others go on. It
// returns when the component has been told. A component that is Failed or in Backoff starts at once.
func (s *Supervisor) Restart(ctx context.Context, name string) error {
	u := s.find(name)
	if u == nil {
		return fmt.Errorf("no component is named %q", name)
	}
	taken := make(chan struct{})
	select {
	case u.restart <- taken:
		<-taken
		return nil
	case <-s.stopping:
		return fmt.Errorf("restart %s: everything is stopping", name)
	case <-ctx.Done():
		return fmt.Errorf("restart %s: %w", name, ctx.Err())
	}
}

func (s *Supervisor) find(name string) *unit {
	for _, u := range s.units {
		if u.Name() == name {
			return u
		}
	}
	return nil
}

// supervise is the life of one component.
func (s *Supervisor) supervise(ctx context.Context, u *unit) error {
	defer close(u.stopped)
	// ctx ends the waiting at once, but what runs ends only after those that require it.
	runCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() {
		for _, d := range u.dependents {
			<-d.stopped
		}
		s.set(u, Stopping, "", Preparing, Starting, Ready, Degraded)
		cancel(context.Cause(ctx))
	})()

	var past history
	for first := true; s.awaitRequired(ctx, u); first = false {
		if !first {
			s.countRestart(u)
		}
		end := s.attempt(runCtx, u)
		s.remember(u, end.err)
		switch {
		case ctx.Err() != nil:
			s.set(u, Stopped, reason(end.err))
			return wrapStop(u, end.err)
		case end.restart:
			past = history{}
		default:
			s.pause(ctx, u, &past, end)
		}
	}
	s.set(u, Stopped, "")
	return nil
}

// awaitRequired returns true when all that u requires is Ready, false when ctx is done.
func (s *Supervisor) awaitRequired(ctx context.Context, u *unit) bool {
	for ctx.Err() == nil {
		missing, changed := s.missing(u)
		if len(missing) == 0 {
			return true
		}
		s.set(u, Waiting, "waiting for "+strings.Join(missing, ", "))
		select {
		case <-changed:
		case taken := <-u.restart: // it starts as soon as it can anyway
			close(taken)
		case <-ctx.Done():
		}
	}
	return false
}

// missing names what u requires and is not Ready, and gives what is closed at the next change.
func (s *Supervisor) missing(u *unit) ([]string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for _, r := range u.requires {
		if r.state != Ready {
			names = append(names, r.Name())
		}
	}
	return names, s.changed
}

// pause waits after a crash: for the delay to pass, for a restart that was asked for, or for ctx.
func (s *Supervisor) pause(ctx context.Context, u *unit, past *history, end ending) {
	delay, ok := past.crash(s.limits, end.ready)
	state := Backoff
	if !ok {
		state = Failed
	}
	s.set(u, state, reason(end.err))
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case taken := <-u.restart:
		*past = history{}
		close(taken)
	case <-ctx.Done():
	}
}

func (s *Supervisor) countRestart(u *unit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.restarts++
}

// remember keeps the reason of the last end that had one.
func (s *Supervisor) remember(u *unit, err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u.lastError = err.Error()
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func wrapStop(u *unit, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("stop %s: %w", u.Name(), err)
}
