package process

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/boxyard/boxyard/internal/supervisor"
)

var (
	_ supervisor.Processor     = (*Runner)(nil)
	_ supervisor.Describer     = (*Runner)(nil)
	_ supervisor.HealthChecker = (*Runner)(nil)
)

// running is a Runner's Run under way.
type running struct {
	cancel context.CancelCauseFunc
	ready  chan struct{}
	result chan error
}

func run(t *testing.T, r *Runner) running {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	out := running{cancel: cancel, ready: make(chan struct{}), result: make(chan error, 1)}
	go func() { out.result <- r.Run(ctx, func() { close(out.ready) }) }()
	t.Cleanup(func() { cancel(nil) })
	return out
}

func (r running) waitReady(t *testing.T) {
	t.Helper()
	select {
	case <-r.ready:
	case err := <-r.result:
		t.Fatalf("ended before it was ready: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("never ready")
	}
}

func (r running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(30 * time.Second):
		t.Fatal("did not end")
		return nil
	}
}

func runner(s Spec) *Runner {
	return &Runner{Spec: func(context.Context) (Spec, error) { return s, nil }}
}

func TestRunnerWaitsForItsProbe(t *testing.T) {
	s := spec(t, "steady")
	r := runner(s)
	var up, after atomic.Bool
	r.Probe = func(context.Context) error {
		if !up.Load() {
			return errors.New("dial unix: no such file")
		}
		return nil
	}
	r.AfterReady = func(context.Context) error {
		after.Store(true)
		return nil
	}
	var kept []bool
	r.BeforeStop = func(_ context.Context, keep bool) error {
		kept = append(kept, keep)
		return nil
	}
	got := run(t, r)
	eventually(t, "a reason", func() bool { return r.WaitingFor() == "dial unix: no such file" })
	if r.PID() == 0 || r.Version() != "v1" || after.Load() {
		t.Errorf("pid %d, version %q, after ready %v", r.PID(), r.Version(), after.Load())
	}
	up.Store(true)
	got.waitReady(t)
	if r.WaitingFor() != "" || !after.Load() || r.CheckHealth(t.Context()) != nil {
		t.Errorf("waiting for %q, after ready %v", r.WaitingFor(), after.Load())
	}
	got.cancel(nil)
	if err := got.wait(t); err != nil {
		t.Error(err)
	}
	if r.PID() != 0 || r.Version() != "" {
		t.Errorf("pid %d, version %q after the end", r.PID(), r.Version())
	}
	if len(kept) != 1 || kept[0] {
		t.Errorf("before stop: %v", kept)
	}
}

func TestRunnerReportsTheChildsEnd(t *testing.T) {
	never := func(ctx context.Context) error {
		<-ctx.Done() // a probe that hangs must not hide that the child is gone
		return ctx.Err()
	}
	r := runner(spec(t, "fail"))
	r.Probe = never
	var exit *ExitError
	if err := run(t, r).wait(t); !errors.As(err, &exit) || exit.How != "exit status 3" {
		t.Errorf("while it starts: %v", err)
	}

	s := spec(t, "steady")
	r = runner(s)
	got := run(t, r)
	got.waitReady(t)
	logged(t, s, "hello") // it handles SIGTERM by now
	p, err := os.FindProcess(r.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := got.wait(t); !errors.As(err, &exit) || exit.How != "exit status 0" {
		t.Errorf("later: %v", err)
	}
}

func TestRunnerEndsTheChildWhenAfterReadyFails(t *testing.T) {
	s := spec(t, "steady")
	r := runner(s)
	broken := errors.New("no ACL here")
	r.AfterReady = func(context.Context) error { return broken }
	if err := run(t, r).wait(t); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if rec, err := readRecord(s); rec != nil || err != nil {
		t.Errorf("it still runs: %+v, %v", rec, err)
	}
}

func TestRunnerKeeps(t *testing.T) {
	for name, tt := range map[string]struct {
		cause error
		keep  func() bool
		want  bool
	}{
		"down":    {nil, func() bool { return false }, false},
		"keep":    {nil, func() bool { return true }, true},
		"restart": {supervisor.ErrRestart, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := runner(spec(t, "steady"))
			r.Keep = tt.keep
			failed := errors.New("a pod would not go")
			var got bool
			r.BeforeStop = func(ctx context.Context, keep bool) error {
				got = keep
				return errors.Join(failed, ctx.Err())
			}
			run := run(t, r)
			run.waitReady(t)
			run.cancel(tt.cause)
			if err := run.wait(t); !errors.Is(err, failed) || errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if got != tt.want {
				t.Errorf("keep %v", got)
			}
		})
	}
}

func TestRunnerDetachesAndTheNextAdopts(t *testing.T) {
	s := spec(t, "steady")
	first := runner(s)
	first.Detach = func() bool { return true }
	first.BeforeStop = func(context.Context, bool) error { return errors.New("must not be called") }
	got := run(t, first)
	got.waitReady(t)
	pid := first.PID()
	got.cancel(nil)
	if err := got.wait(t); err != nil {
		t.Fatal(err)
	}
	s.Version = "v2"
	next := runner(s)
	var probed atomic.Int32
	next.Probe = func(context.Context) error {
		if probed.Add(1) < 3 {
			return errors.New("not yet")
		}
		return nil
	}
	got = run(t, next)
	got.waitReady(t)
	if next.PID() != pid || next.Version() != "v1" || probed.Load() != 3 {
		t.Errorf("pid %d want %d, version %s, probes %d", next.PID(), pid, next.Version(), probed.Load())
	}
	next.Detach = nil
	got.cancel(nil)
	if err := got.wait(t); err != nil {
		t.Error(err)
	}
	if rec, err := readRecord(s); rec != nil || err != nil {
		t.Errorf("it still runs: %+v, %v", rec, err)
	}
}

func TestRunnerStopsWhileItStarts(t *testing.T) {
	r := runner(spec(t, "steady"))
	r.Probe = func(context.Context) error { return errors.New("not yet") }
	got := run(t, r)
	eventually(t, "a reason", func() bool { return r.WaitingFor() != "" })
	got.cancel(nil)
	if err := got.wait(t); err != nil {
		t.Error(err)
	}
}

func TestRestartedRunnerIsNotDetached(t *testing.T) {
	s := spec(t, "steady")
	r := runner(s)
	r.Detach = func() bool { return true }
	got := run(t, r)
	got.waitReady(t)
	got.cancel(supervisor.ErrRestart)
	if err := got.wait(t); err != nil {
		t.Fatal(err)
	}
	if rec, err := readRecord(s); rec != nil || err != nil {
		t.Errorf("it still runs: %+v, %v", rec, err)
	}
}
