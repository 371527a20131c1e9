package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// stage is a set of parts that are stopped together: storage outlives the API, which outlives its clients.
type stage struct {
	ctx    context.Context // it is the life of the parts, which outlives the call that starts them
	cancel context.CancelFunc
	failed func(error)

	mu      sync.Mutex // of stopped and the start of a part
	stopped bool
	wg      sync.WaitGroup
}

// newStage returns a stage whose parts live until stop, even when ctx is done before. failed is called for
// each part that ends earlier.
func newStage(ctx context.Context, failed func(error)) *stage {
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &stage{ctx: live, cancel: cancel, failed: failed}
}

// start runs a part, which must not end before it is stopped. Nothing starts in a stage that is stopped.
func (s *stage) start(name string, run func(context.Context) error) {
	s.try(name, func(ctx context.Context) error {
		if err := run(ctx); err != nil {
			return err
		}
		return errors.New("it ended by itself")
	})
}

// try runs a task that may end, but not with an error.
func (s *stage) try(name string, run func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.wg.Go(func() {
		if err := run(s.ctx); err != nil && s.ctx.Err() == nil {
			s.failed(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// stop asks the parts to end and waits for them, at most so long. What has not ended then is cut off with
// the process: acknowledged writes are on disk already.
func (s *stage) stop(name string, limit time.Duration) {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(limit):
		klog.InfoS("Not waiting any longer for parts to end", "stage", name, "after", limit)
	}
}
