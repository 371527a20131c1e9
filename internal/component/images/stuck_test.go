package images

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/containerd/v2/core/content"
)

type fakeIngests struct {
	mu      sync.Mutex
	list    []content.Status
	aborted []string
}

func (f *fakeIngests) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list), nil
}

func (f *fakeIngests) Abort(_ context.Context, ref string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.aborted = append(f.aborted, ref)
	f.list = slices.DeleteFunc(f.list, func(s content.Status) bool { return s.Ref == ref })
	return nil
}

func TestOnlyWhatIsWholeAndStaysIsTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		f := &fakeIngests{list: []content.Status{
			{Ref: "wrong", Offset: 10, Total: 10, StartedAt: begun},
			{Ref: "half", Offset: 5, Total: 10, StartedAt: begun},
			{Ref: "of unknown size", Offset: 5, StartedAt: begun},
			{Ref: "again", Offset: 10, Total: 10, StartedAt: begun},
		}}
		go sweepStuck(t.Context(), f, quiet())
		time.Sleep(stuckAfter + time.Second)
		synctest.Wait()
		if len(f.aborted) > 0 {
			t.Errorf("after one look %v are gone", f.aborted)
		}
		f.mu.Lock()
		f.list[3].StartedAt = time.Now() // it was committed, and is pulled anew
		f.mu.Unlock()
		time.Sleep(stuckAfter)
		synctest.Wait()
		if !slices.Equal(f.aborted, []string{"wrong"}) {
			t.Errorf("after two looks %v are gone, want wrong", f.aborted)
		}
	})
}
