package supervisor

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script is a component whose starts follow a list: how long until it is Ready (negative: never),
// and how long until it crashes after that. The last entry is repeated.
type script struct {
	part
	steps  []step
	starts []time.Duration // since the first
	began  time.Time
}

type step struct{ ready, crash time.Duration }

func (c *script) Run(ctx context.Context, ready func()) error {
	if c.began.IsZero() {
		c.began = time.Now()
	}
	c.starts = append(c.starts, time.Since(c.began))
	now := c.steps[min(len(c.starts), len(c.steps))-1]
	if now.ready >= 0 {
		time.Sleep(now.ready)
		ready()
	}
	select {
	case <-time.After(now.crash):
		return errors.New("bang")
	case <-ctx.Done():
		return nil
	}
}

func TestDelaysDouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &script{part: part{name: "a"}, steps: []step{{-1, 0}}}
		s, stop := begin(t, c)
		pass(30 * time.Second)
		ms := time.Millisecond
		starts := []time.Duration{0, 200 * ms, 600 * ms, 1400 * ms, 3000 * ms, 6200 * ms, 12600 * ms, 22600 * ms}
		if diff := cmp.Diff(starts, c.starts); diff != "" {
			t.Errorf("starts -want +got:\n%s", diff)
		}
		if r := row(s, "a"); r.State != Failed || r.Restarts != 7 || r.LastError != "bang" {
			t.Errorf("row %+v", r)
		}
		_ = stop()
	})
}

func TestFailedIsTriedNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := []step{{-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, time.Second}, {0, time.Hour}}
		c := &script{part: part{name: "a"}, steps: steps}
		s, stop := begin(t, c)
		pass(80 * time.Second) // the eighth start, at 22.6 s, spent the budget
		if r := row(s, "a"); r.State != Failed || r.LastError != "bang" {
			t.Errorf("row %+v", r)
		}
		pass(35 * time.Second)
		if diff := cmp.Diff([]time.Duration{22600, 52600, 82600, 113600}, milliseconds(c.starts[7:])); diff != "" {
			t.Errorf("starts in ms -want +got:\n%s", diff)
		}
		if r := row(s, "a"); r.State != Ready {
			t.Errorf("row %+v", r)
		}
		_ = stop()
	})
}

func milliseconds(times []time.Duration) []time.Duration {
	out := make([]time.Duration, len(times))
	for i, d := range times {
		out[i] = d / time.Millisecond
	}
	return out
}

func TestFirstCrashAfterReadyRestartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := time.Second
		c := &script{part: part{name: "a"}, steps: []step{{0, second}, {0, second}, {0, second}, {0, time.Hour}}}
		_, stop := begin(t, c)
		pass(time.Minute)
		ms := time.Millisecond
		if diff := cmp.Diff([]time.Duration{0, 1000 * ms, 2200 * ms, 3600 * ms}, c.starts); diff != "" {
			t.Errorf("starts -want +got:\n%s", diff)
		}
		_ = stop()
	})
}

func TestTenSecondsOfReadyForgetThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Seven starts that fail, one that settles, seven more: never eight in a row.
		steps := []step{{-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {0, 10 * time.Second}}
		steps = append(steps, steps[:7]...)
		steps = append(steps, step{0, 24 * time.Hour})
		c := &script{part: part{name: "a"}, steps: steps}
		s, stop := begin(t, c)
		pass(time.Hour)
		if r := row(s, "a"); r.State != Ready || r.Restarts != 15 {
			t.Errorf("row %+v", r)
		}
		if c.starts[8]-c.starts[7] != 10*time.Second {
			t.Errorf("after it had settled it waited: %v", c.starts)
		}
		_ = stop()
	})
}

func TestReadyTooShortDoesNotRefillTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := []step{{-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {0, time.Second}, {-1, 0}}
		c := &script{part: part{name: "a"}, steps: steps}
		s, stop := begin(t, c)
		pass(40 * time.Second)
		if r := row(s, "a"); r.State != Failed || r.Restarts != 8 {
			t.Errorf("row %+v", r)
		}
		_ = stop()
	})
}

func TestRestartRevivesAFailedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		steps := []step{{-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {0, time.Hour}}
		c := &script{part: part{name: "a"}, steps: steps}
		s, stop := begin(t, c, &part{name: "top", requires: []string{"a"}})
		pass(30 * time.Second)
		if r := row(s, "top"); r.State != Waiting || r.WaitingFor != "a (bang)" {
			t.Errorf("row %+v", r)
		}
		before := len(life(s, "a"))
		if err := s.Restart(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second) // the ninth start fails too: the budget is a fresh one
		want(t, life(s, "a")[before:], "preparing starting backoff preparing starting ready")
		if got := row(s, "top").State; got != Ready {
			t.Errorf("top is %s", got)
		}
		_ = stop()
	})
}

func TestRestartDoesNotWaitForBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &script{part: part{name: "a"}, steps: []step{{-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {-1, 0}, {0, time.Hour}}}
		s, stop := begin(t, c)
		pass(3100 * time.Millisecond) // the fifth has just failed, the next is due at 6.2 s
		if err := s.Restart(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r := row(s, "a"); r.State != Ready || c.starts[5] > 4*time.Second {
			t.Errorf("row %+v, starts %v", r, c.starts)
		}
		_ = stop()
	})
}

func TestRestartOfARunningOneLeavesTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []error
		s, stop := begin(t,
			&part{name: "base", run: func(ctx context.Context, ready func()) error {
				err := steady(ctx, ready)
				causes = append(causes, context.Cause(ctx))
				time.Sleep(time.Second)
				return err
			}},
			&part{name: "top", requires: []string{"base"}},
		)
		for range 2 { // the second asks for what is under way
			if err := s.Restart(t.Context(), "base"); err != nil {
				t.Fatal(err)
			}
			if got := row(s, "base").State; got != Stopping {
				t.Errorf("told, and still %s", got)
			}
		}
		pass(2 * time.Second)
		want(t, life(s, "base"), "preparing starting ready stopping preparing starting ready")
		want(t, life(s, "top"), "waiting preparing starting ready")
		if r := row(s, "base"); r.LastError != "" || r.Restarts != 1 {
			t.Errorf("row %+v", r)
		}
		if len(causes) != 1 || !errors.Is(causes[0], ErrRestart) {
			t.Errorf("causes %v", causes)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRestartWhilePreparing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s, stop := begin(t, &part{name: "a", prepare: func(ctx context.Context) error {
			if n++; n == 1 {
				<-ctx.Done()
			}
			return nil
		}})
		if err := s.Restart(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		settle()
		want(t, life(s, "a"), "preparing stopping preparing starting ready")
		if err := s.Restart(t.Context(), "b"); err == nil {
			t.Error("restarted an unknown one")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
