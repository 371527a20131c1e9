package dockerd

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/containerd/containerd/v2/core/leases"
)

// startingLeases answer from the third call on.
type startingLeases struct {
	leases.Manager
	calls int
}

func (s *startingLeases) List(context.Context, ...string) ([]leases.Lease, error) {
	if s.calls++; s.calls < 3 {
		return nil, errors.New("away")
	}
	return []leases.Lease{{ID: "one"}}, nil
}

func TestListLeasesWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if held, err := listLeases(t.Context(), &startingLeases{}); err != nil || len(held) != 1 {
			t.Errorf("got %v, %v", held, err)
		}
		if _, err := listLeases(t.Context(), &startingLeases{calls: -1000}); err == nil {
			t.Error("no error when containerd stays away")
		}
	})
}
