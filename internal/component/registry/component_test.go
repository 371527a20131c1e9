package registry

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boxyard/boxyard/internal/paths"
)

// TestWhatIsNotWantedIsReadyAndWell: it waits, and must not look like something that is broken.
func TestWhatIsNotWantedIsReadyAndWell(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Layout: paths.Layout{Data: dir, Run: dir}, Registries: dir})
		if err := c.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := false, make(chan error, 1)
		go func() { ended <- c.Run(ctx, func() { ready = true }) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if !ready || c.Wanted() || c.PID() != 0 {
			t.Errorf("ready %v, wanted %v, pid %d", ready, c.Wanted(), c.PID())
		}
		if err := c.CheckHealth(ctx); err != nil {
			t.Errorf("not well: %v", err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
