package process

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/boxyard/boxyard/internal/supervisor"
)

const (
	probeEvery   = 25 * time.Millisecond
	probeTimeout = 3 * time.Second
	// stopWork bounds BeforeStop, which may have many containers to end.
	stopWork = 2 * time.Minute
)

// Runner is embedded by components that are one child process. It implements supervisor.Component's
// Run, supervisor.Processor, supervisor.Describer and supervisor.HealthChecker. The fields are set
// before Run and not changed after.
type Runner struct {
	// Spec is called at each start, after Prepare.
	Spec func(ctx context.Context) (Spec, error)
	// Probe is polled until nil, with 3 s for each call; its error is what the component waits for.
	// It is the health check as well.
	Probe func(ctx context.Context) error
	// AfterReady is optional and called before the component counts as Ready, as for the ACL of a
	// socket. Its error ends the child.
	AfterReady func(ctx context.Context) error
	// BeforeStop is optional and called before SIGTERM. keep says that what runs under the child
	// stays: at a restart, and where Keep says so. Its ctx ends with the child, or after 2 minutes.
	BeforeStop func(ctx context.Context, keep bool) error
	// Keep is optional: when it returns true at a stop, containers and pods are to go on.
	Keep func() bool
	// Detach is optional: when it returns true at a stop that is no restart, the child is left
	// running for the next daemon to adopt, and Run returns nil.
	Detach func() bool

	mu      sync.Mutex
	process *Process // nil: none runs
	waiting string
}

// Run implements supervisor.Component.
func (r *Runner) Run(ctx context.Context, ready func()) error {
	spec, err := r.Spec(ctx)
	if err != nil {
		return err
	}
	p, err := Start(ctx, spec)
	if err != nil {
		return err
	}
	defer p.Release()
	r.set(p, "")
	defer r.set(nil, "")

	err = r.untilReady(ctx, p)
	switch {
	case ctx.Err() != nil:
		return r.end(ctx, p)
	case p.Err() != nil:
		return p.Err()
	case err != nil:
		return errors.Join(err, p.Stop(ctx))
	}
	ready()
	select {
	case <-p.Done():
		return p.Err()
	case <-ctx.Done():
		return r.end(ctx, p)
	}
}

// untilReady returns nil when the probe and AfterReady have; else ctx is done, the child has ended
// or AfterReady failed.
func (r *Runner) untilReady(ctx context.Context, p *Process) error {
	ctx, cancel := withProcess(ctx, p)
	defer cancel()
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		err := r.CheckHealth(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			break
		}
		r.set(p, err.Error())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.set(p, "")
	if r.AfterReady == nil {
		return nil
	}
	return r.AfterReady(ctx)
}

// end stops the child, or leaves it to the next daemon.
func (r *Runner) end(ctx context.Context, p *Process) error {
	restart := errors.Is(context.Cause(ctx), supervisor.ErrRestart)
	if !restart && r.Detach != nil && r.Detach() {
		return nil
	}
	keep := restart || r.Keep != nil && r.Keep()
	// ctx is done already: that is why we are here.
	ctx = context.WithoutCancel(ctx)
	return errors.Join(r.beforeStop(ctx, p, keep), p.Stop(ctx))
}

func (r *Runner) beforeStop(ctx context.Context, p *Process, keep bool) error {
	if r.BeforeStop == nil || p.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopWork)
	defer cancel()
	ctx, cancelProcess := withProcess(ctx, p)
	defer cancelProcess()
	if err := r.BeforeStop(ctx, keep); err != nil {
		return fmt.Errorf("before the stop of %s: %w", p.spec.Name, err)
	}
	return nil
}

// withProcess gives a context that ends with the process.
func withProcess(ctx context.Context, p *Process) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-p.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (r *Runner) set(p *Process, waiting string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.waiting = p, waiting
}

func (r *Runner) running() *Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.process
}

// PID implements supervisor.Processor.
func (r *Runner) PID() int {
	if p := r.running(); p != nil {
		return p.PID()
	}
	return 0
}

// Version implements supervisor.Processor: the version of what runs, which an earlier daemon may
// have started.
func (r *Runner) Version() string {
	if p := r.running(); p != nil {
		return p.Version()
	}
	return ""
}

// WaitingFor implements supervisor.Describer.
func (r *Runner) WaitingFor() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting
}

// CheckHealth implements supervisor.HealthChecker. Without a Probe, to run is to be healthy.
func (r *Runner) CheckHealth(ctx context.Context) error {
	if r.Probe == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return r.Probe(ctx)
}
