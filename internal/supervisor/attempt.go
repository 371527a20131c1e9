package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// ending is how one start of a component came to its end.
type ending struct {
	err     error         // nil after a clean stop that was asked for
	ready   time.Duration // how long it was Ready, negative when it never was
	restart bool          // it was stopped because Restart asked for it
}

// attempt runs u once, from Prepare to the return of Run.
func (s *Supervisor) attempt(ctx context.Context, u *unit) ending {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	var restarts, health sync.WaitGroup
	restarts.Go(func() { s.takeRestarts(u, cancel, over) })

	var r readiness
	asked, err := s.prepareAndRun(ctx, u, func() {
		s.markReady(u, &r, func() { health.Go(func() { s.checkHealth(ctx, u) }) })
	})
	end := ending{err: err, ready: s.closeReady(&r)}
	// Only now is it certain whether a restart was asked for, and no request is lost.
	close(over)
	restarts.Wait()
	end.restart = errors.Is(context.Cause(ctx), ErrRestart)
	asked = asked || ctx.Err() != nil
	cancel(nil)
	health.Wait()

	switch {
	case !asked && err == nil:
		end.err = errors.New("it ended by itself")
	case asked && (errors.Is(err, context.Canceled) || errors.Is(err, ErrRestart)):
		end.err = nil
	}
	return end
}

// prepareAndRun also says whether u was asked to stop while it prepared, and so was not run.
func (s *Supervisor) prepareAndRun(ctx context.Context, u *unit, ready func()) (bool, error) {
	s.set(u, Preparing, "")
	if err := s.guard(u, func() error { return u.Prepare(ctx) }); err != nil {
		return false, err
	}
	if ctx.Err() != nil || !s.set(u, Starting, "", Preparing) {
		return true, nil
	}
	return false, s.guard(u, func() error { return u.Run(ctx, ready) })
}

// takeRestarts cancels the attempt when a restart is asked for. It takes further requests until
// the attempt is over: they ask for what is under way.
func (s *Supervisor) takeRestarts(u *unit, cancel context.CancelCauseFunc, over <-chan struct{}) {
	for {
		select {
		case taken := <-u.restart:
			cancel(ErrRestart)
			s.set(u, Stopping, ErrRestart.Error(), Preparing, Starting, Ready, Degraded)
			close(taken)
		case <-over:
			return
		}
	}
}

// readiness of one attempt, guarded by Supervisor.mu.
type readiness struct {
	at   time.Time // zero: not yet
	over bool      // the attempt has ended: a late call of ready means nothing
}

func (s *Supervisor) markReady(u *unit, r *readiness, then func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.over || !r.at.IsZero() || !s.setLocked(u, Ready, "", Starting) {
		return
	}
	r.at = time.Now()
	then()
}

func (s *Supervisor) closeReady(r *readiness) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.over = true
	if r.at.IsZero() {
		return -1
	}
	return time.Since(r.at)
}

// checkHealth moves u between Ready and Degraded until ctx is done.
func (s *Supervisor) checkHealth(ctx context.Context, u *unit) {
	h, ok := u.Component.(HealthChecker)
	if !ok {
		return
	}
	ticker := time.NewTicker(s.healthEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		err := s.guard(u, func() error {
			ctx, cancel := context.WithTimeout(ctx, s.healthEvery)
			defer cancel()
			return h.CheckHealth(ctx)
		})
		if ctx.Err() != nil {
			return
		}
		s.setHealth(u, err)
	}
}

func (s *Supervisor) setHealth(u *unit, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.unhealthy = reason(err)
	if err != nil {
		s.setLocked(u, Degraded, u.unhealthy, Ready)
		return
	}
	s.setLocked(u, Ready, "", Degraded)
}

// guard turns a panic of a component into an error: it must not end the others.
func (s *Supervisor) guard(u *unit, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.logger.Error("panic", "component", u.Name(), "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}
