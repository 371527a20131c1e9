package images

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
)

// stuckAfter is how long content may be whole and not committed. A commit only syncs and renames a file.
const stuckAfter = 30 * time.Second

// ingests is the part of containerd's content store that is looked through here.
type ingests interface {
	ListStatuses(ctx context.Context, filters ...string) ([]content.Status, error)
	Abort(ctx context.Context, ref string) error
}

// sweepStuck takes away what a registry has sent wrong. containerd keeps content whose digest is not what it should be,
// for a day, as if it could still be completed, and each further pull fails on it in the same way, though the registry
// may long be telling the truth (plugins/content/local/writer.go, Commit). It returns when ctx is done.
func sweepStuck(ctx context.Context, store ingests, log *slog.Logger) {
	tick := time.NewTicker(stuckAfter)
	defer tick.Stop()
	// By reference, when an ingest began that was whole at the look before.
	whole := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		statuses, err := store.ListStatuses(ctx)
		if err != nil {
			continue // containerd is away; a new session has a new sweep
		}
		now := map[string]time.Time{}
		for _, s := range statuses {
			if s.Total <= 0 || s.Offset < s.Total {
				continue
			}
			if began, seen := whole[s.Ref]; !seen || !began.Equal(s.StartedAt) {
				now[s.Ref] = s.StartedAt
				continue
			}
			if err := store.Abort(ctx, s.Ref); err != nil && !errdefs.IsNotFound(err) && !errors.Is(err, context.Canceled) {
				log.Warn("content that a registry has sent wrong stays", "ref", s.Ref, "error", err)
				continue
			}
			log.Info("took away content that a registry has sent wrong", "ref", s.Ref)
		}
		whole = now
	}
}
