//go:build faults

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/ledger"
)

const kills = 50

// TestKillWhileWriting kills the cluster process 50 times at random moments, while it serves and while it starts,
// and expects that nothing which it acknowledged is lost. SEED repeats a run.
func TestKillWhileWriting(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	y := start(t, harness.Options{})
	book, stop := y.write(4, 100)
	for i := range kills {
		// A quarter of them while it starts, a half a short while after it is Ready, and a quarter when it has
		// settled, which also gives it a fresh budget of starts.
		when, moment := "while it starts", time.Duration(random.Int64N(int64(3*time.Second)))
		if kind := random.IntN(4); kind > 0 {
			when = fmt.Sprintf("Ready for %v", moment)
			y.isReady(time.Minute, fmt.Sprintf("before kill %d", i+1))
			if kind == 3 {
				when, moment = "settled", moment+11*time.Second
			}
		}
		y.wait(moment)
		y.poll(time.Minute, fmt.Sprintf("a process for kill %d", i+1), func() error {
			n, err := y.Kill("cluster")
			if err == nil && n == 0 {
				err = fmt.Errorf("none runs")
			}
			return err
		})
		t.Logf("kill %d: %s", i+1, when)
	}
	y.wait(2 * time.Second) // on a busy machine the daemon notices a kill a moment late
	y.isReady(time.Minute, "after the last kill")
	y.wait(2 * time.Second) // it writes again
	stop()
	y.verify(book, 500)
}

// start starts a platform.
func start(t *testing.T, o harness.Options) yard {
	t.Helper()
	y := yard{Instance: harness.New(t, o), t: t}
	result, err := y.Up(t.Context())
	if err != nil || result.Code != 0 {
		t.Fatalf("up: %v\n%s", err, result.Output())
	}
	return y
}

// write keeps writers going until stop is called.
func (y yard) write(writers, size int) (book *ledger.Ledger, stop func()) {
	y.t.Helper()
	y.must(y.Kubectl(y.t.Context(), "create", "namespace", "written"))
	book = ledger.New(y.api(), "written", size)
	ctx, cancel := context.WithCancel(y.t.Context())
	var running sync.WaitGroup
	running.Go(func() { book.Write(ctx, writers) })
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	y.t.Cleanup(stop)
	return book, stop
}

// verify expects at least so many acknowledged writes, and all of them to be there.
func (y yard) verify(book *ledger.Ledger, least int) {
	y.t.Helper()
	created, deleted, unanswered := book.Count()
	y.t.Logf("acknowledged: %d created, %d deleted; without an answer: %d; the last error: %v", created, deleted, unanswered, book.LastError())
	if created+deleted < least {
		y.t.Errorf("%d acknowledged writes, which proves little; want %d", created+deleted, least)
	}
	if err := book.Verify(y.t.Context()); err != nil {
		y.t.Error(err)
	}
}

func (y yard) api() *harness.API {
	y.t.Helper()
	api, err := y.API(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(api.Close)
	return api
}

func (y yard) isReady(limit time.Duration, when string) {
	y.t.Helper()
	began := time.Now()
	y.poll(limit, "every part is Ready "+when, func() error {
		status, err := y.Status(y.t.Context())
		if err == nil && !status.Ready {
			err = fmt.Errorf("%+v", status.Components)
		}
		return err
	})
	y.t.Logf("%s: Ready after %v", when, time.Since(began).Round(10*time.Millisecond))
}
