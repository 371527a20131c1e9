package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// part is a component that does what its test says.
type part struct {
	name     string
	requires []string
	before   []string
	prepare  func(ctx context.Context) error
	run      func(ctx context.Context, ready func()) error
	health   func(ctx context.Context) error
	waiting  string
	warning  string
}

func (p *part) Name() string          { return p.name }
func (p *part) Requires() []string    { return p.requires }
func (p *part) StopsBefore() []string { return p.before }
func (p *part) WaitingFor() string    { return p.waiting }
func (p *part) Warning() string       { return p.warning }
func (p *part) PID() int              { return 42 }
func (p *part) Version() string       { return "v1" }

func (p *part) Prepare(ctx context.Context) error {
	if p.prepare == nil {
		return nil
	}
	return p.prepare(ctx)
}

func (p *part) Run(ctx context.Context, ready func()) error {
	if p.run == nil {
		return steady(ctx, ready)
	}
	return p.run(ctx, ready)
}

func (p *part) CheckHealth(ctx context.Context) error {
	if p.health == nil {
		return nil
	}
	return p.health(ctx)
}

// steady takes a moment, so that what requires it always waits.
func steady(ctx context.Context, ready func()) error {
	time.Sleep(time.Millisecond)
	ready()
	<-ctx.Done()
	return ctx.Err()
}

// begin runs a supervisor until the returned stop is called, which gives Run's error.
func begin(t *testing.T, comps ...Component) (*Supervisor, func() error) {
	t.Helper()
	s, err := New(slog.New(slog.DiscardHandler), comps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	settle()
	return s, func() error {
		cancel()
		return <-ended
	}
}

// pass lets time pass and what happens then come to rest.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// settle is long enough for a few of steady's moments.
func settle() { pass(5 * time.Millisecond) }

// life is the sequence of states of one component, and all of them in order without a name.
func life(s *Supervisor, name string) []string {
	events, _, _ := s.eventsSince(0)
	var got []string
	for _, e := range events {
		switch name {
		case e.Component:
			got = append(got, string(e.To))
		case "":
			got = append(got, e.Component+" "+string(e.To))
		}
	}
	return got
}

func want(t *testing.T, got []string, want string) {
	t.Helper()
	if diff := cmp.Diff(strings.Fields(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func row(s *Supervisor, name string) Status {
	for _, r := range s.Status() {
		if r.Name == name {
			return r
		}
	}
	return Status{}
}

func TestGraph(t *testing.T) {
	for name, tt := range map[string]struct {
		comps []Component
		want  string
	}{
		"unknown": {[]Component{&part{name: "a", requires: []string{"b"}}}, `requires "b"`},
		"twice":   {[]Component{&part{name: "a"}, &part{name: "a"}}, `two components are named "a"`},
		"itself":  {[]Component{&part{name: "a", requires: []string{"a"}}}, "a -> a"},
		"cycle": {[]Component{
			&part{name: "x", requires: []string{"a"}},
			&part{name: "a", requires: []string{"b"}},
			&part{name: "b", requires: []string{"c"}},
			&part{name: "c", requires: []string{"a"}},
		}, "require each other: a -> b -> c -> a"},
		"diamond": {[]Component{
			&part{name: "top", requires: []string{"l", "r"}},
			&part{name: "l", requires: []string{"base"}},
			&part{name: "r", requires: []string{"base"}},
			&part{name: "base"},
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(slog.New(slog.DiscardHandler), tt.comps)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestStartsInOrderAndIndependentBranchesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(d time.Duration) func(context.Context, func()) error {
			return func(ctx context.Context, ready func()) error {
				time.Sleep(d)
				return steady(ctx, ready)
			}
		}
		began := time.Now()
		s, stop := begin(t,
			&part{name: "dockerd", requires: []string{"containerd"}, run: slow(2 * time.Second)},
			&part{name: "cluster", requires: []string{"containerd"}, run: slow(3 * time.Second)},
			&part{name: "containerd", run: slow(time.Second)},
		)
		for s.ready() < 3 {
			_, _, changed := s.eventsSince(0)
			<-changed
		}
		if took := time.Since(began).Round(time.Second); took != 4*time.Second {
			t.Errorf("took %v, want the longest branch, 4s", took)
		}
		want(t, life(s, "containerd"), "preparing starting ready")
		want(t, life(s, "dockerd"), "waiting preparing starting ready")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func (s *Supervisor) ready() int {
	n := 0
	for _, r := range s.Status() {
		if r.State == Ready {
			n++
		}
	}
	return n
}

func TestStopsInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := make(chan error, 3)
		run := func(ctx context.Context, ready func()) error {
			_ = steady(ctx, ready)
			time.Sleep(time.Second)
			cause <- context.Cause(ctx)
			return nil
		}
		s, err := New(slog.New(slog.DiscardHandler), []Component{
			&part{name: "base", run: run},
			&part{name: "mid", requires: []string{"base"}, run: run},
			&part{name: "top", requires: []string{"mid", "base"}, run: run},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		settle()
		before := len(life(s, ""))
		why := errors.New("enough")
		cancel(why)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		got := strings.ReplaceAll(strings.Join(life(s, "")[before:], ","), " ", "-")
		if want := "top-stopping,top-stopped,mid-stopping,mid-stopped,base-stopping,base-stopped"; got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		for range 3 {
			if got := <-cause; !errors.Is(got, why) {
				t.Errorf("cause %v", got)
			}
		}
	})
}

func TestWhatStopsBeforeAnotherDoesNotWaitForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := func(ctx context.Context, ready func()) error {
			time.Sleep(time.Minute)
			return steady(ctx, ready)
		}
		s, err := New(slog.New(slog.DiscardHandler), []Component{
			&part{name: "runtime", run: late},
			&part{name: "cluster", before: []string{"runtime"}, run: func(ctx context.Context, ready func()) error {
				_ = steady(ctx, ready)
				time.Sleep(time.Second)
				return nil
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		var got []string
		for _, change := range life(s, "") {
			if strings.HasSuffix(change, "ready") || strings.HasSuffix(change, "stopped") {
				got = append(got, strings.ReplaceAll(change, " ", "-"))
			}
		}
		if want := "cluster-ready,runtime-ready,cluster-stopped,runtime-stopped"; strings.Join(got, ",") != want {
			t.Errorf("got %v\nwant %s", got, want)
		}
	})
}

func TestStopErrorIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := errors.New("had to be killed")
		_, stop := begin(t, &part{name: "a", run: func(ctx context.Context, ready func()) error {
			_ = steady(ctx, ready)
			return stuck
		}})
		if err := stop(); !errors.Is(err, stuck) || !strings.Contains(err.Error(), "stop a") {
			t.Errorf("got %v", err)
		}
	})
}

func TestStopsWhatDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := func(context.Context) error { return errors.New("no") }
		s, stop := begin(t,
			&part{name: "broken", prepare: broken},
			&part{name: "waits", requires: []string{"broken"}},
		)
		if err := stop(); err != nil && !strings.Contains(err.Error(), "no") {
			t.Error(err)
		}
		want(t, life(s, "broken"), "preparing backoff stopped")
		want(t, life(s, "waits"), "waiting stopped")
		if err := s.Restart(t.Context(), "broken"); err == nil {
			t.Error("restarted after the end")
		}
	})
}

func TestDependentsGoOnWhenARequirementCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		crash := make(chan error)
		s, stop := begin(t,
			&part{name: "base", run: func(ctx context.Context, ready func()) error {
				time.Sleep(time.Millisecond)
				ready()
				select {
				case err := <-crash:
					return err
				case <-ctx.Done():
					return nil
				}
			}},
			&part{name: "top", requires: []string{"base"}},
		)
		crash <- errors.New("bang")
		settle()
		want(t, life(s, "base"), "preparing starting ready backoff preparing starting ready")
		want(t, life(s, "top"), "waiting preparing starting ready")
		if r := row(s, "base"); r.Restarts != 1 || r.LastError != "bang" || r.PID != 42 || r.Version != "v1" {
			t.Errorf("row %+v", r)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestPanicIsACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s, stop := begin(t, &part{name: "a", run: func(ctx context.Context, ready func()) error {
			if n++; n == 1 {
				panic("oops")
			}
			return steady(ctx, ready)
		}})
		pass(time.Second)
		want(t, life(s, "a"), "preparing starting backoff preparing starting ready")
		if got := row(s, "a").LastError; got != "panic: oops" {
			t.Errorf("error %q", got)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestReturningWithoutErrorIsACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := begin(t, &part{name: "a", run: func(context.Context, func()) error { return nil }})
		want(t, life(s, "a"), "preparing starting backoff")
		if row(s, "a").LastError == "" {
			t.Error("no reason")
		}
		_ = stop()
	})
}

func TestLateReadyMeansNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var late func()
		s, stop := begin(t, &part{name: "a", run: func(_ context.Context, ready func()) error {
			late = ready
			return errors.New("no")
		}})
		late()
		want(t, life(s, "a"), "preparing starting backoff")
		_ = stop()
	})
}

func TestWaitingIsDescribed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := begin(t,
			&part{name: "containerd", waiting: "dial unix: no such file", run: func(ctx context.Context, _ func()) error {
				<-ctx.Done()
				return nil
			}},
			&part{name: "network", prepare: func(context.Context) error { return errors.New("no nft\nsecond line") }},
			&part{name: "dockerd", requires: []string{"containerd", "network"}},
		)
		if got := row(s, "containerd").WaitingFor; got != "dial unix: no such file" {
			t.Errorf("containerd: %q", got)
		}
		if got := row(s, "dockerd").WaitingFor; got != "containerd (dial unix: no such file), network (no nft)" {
			t.Errorf("dockerd: %q", got)
		}
		events, _, _ := s.eventsSince(0)
		for _, e := range events {
			if e.Component == "dockerd" && e.Reason != "waiting for containerd, network" {
				t.Errorf("reason %q", e.Reason)
			}
		}
		_ = stop()
	})
}

func TestWarningOfWhatIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := begin(t,
			&part{name: "door", warning: "port 80 is in use"},
			&part{name: "top", requires: []string{"door"}, warning: "not ready", run: func(ctx context.Context, _ func()) error {
				<-ctx.Done()
				return nil
			}},
		)
		if r := row(s, "door"); r.State != Ready || r.Warning != "port 80 is in use" {
			t.Errorf("row %+v", r)
		}
		if r := row(s, "top"); r.State != Starting || r.Warning != "" {
			t.Errorf("row %+v", r)
		}
		_ = stop()
	})
}

func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sick atomic.Pointer[error]
		s, stop := begin(t, &part{name: "a", health: func(context.Context) error {
			if err := sick.Load(); err != nil {
				return *err
			}
			return nil
		}})
		pass(6 * time.Second)
		want(t, life(s, "a"), "preparing starting ready")
		err := errors.New("does not answer")
		sick.Store(&err)
		pass(5 * time.Second)
		if r := row(s, "a"); r.State != Degraded || r.WaitingFor != "does not answer" {
			t.Errorf("row %+v", r)
		}
		sick.Store(nil)
		pass(5 * time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		want(t, life(s, "a"), "preparing starting ready degraded ready stopping stopped")
	})
}

func TestEventsArePastThenLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := begin(t, &part{name: "a"})
		ctx, cancel := context.WithCancel(t.Context())
		events := s.Events(ctx)
		var got []string
		for range 3 {
			got = append(got, string((<-events).To))
		}
		go func() { _ = s.Restart(ctx, "a") }()
		for range 4 {
			e := <-events
			got = append(got, fmt.Sprint(e.To))
		}
		want(t, got, "preparing starting ready stopping preparing starting ready")
		cancel()
		synctest.Wait()
		if _, open := <-events; open {
			t.Error("still open")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestOnlyTheLastEventsAreKept(t *testing.T) {
	s, err := New(slog.New(slog.DiscardHandler), []Component{&part{name: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range keptEvents + 1 {
		s.set(s.units[0], []State{Preparing, Starting}[i%2], fmt.Sprint(i))
	}
	events, total, _ := s.eventsSince(0)
	if len(events) != keptEvents || total != keptEvents+1 || events[0].Reason != "1" {
		t.Errorf("%d events of %d, first %q", len(events), total, events[0].Reason)
	}
	if events, _, _ := s.eventsSince(total - 1); len(events) != 1 || events[0].Reason != fmt.Sprint(keptEvents) {
		t.Errorf("the last one: %v", events)
	}
}
