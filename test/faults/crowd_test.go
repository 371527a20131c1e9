//go:build faults

package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// A crowd is this many clients, each of which starts its share of containers, one after the other.
const (
	crowdClients    = 20
	crowdContainers = 300
)

// TestCrowd: 300 containers that 20 clients start at once all run, each with an address of its own, and leave nothing.
func TestCrowd(t *testing.T) {
	y := start(t, harness.Options{Config: "without: [cluster]\n"})
	y.must(y.Docker(t.Context(), "network", "create", "--subnet", "10.45.64.0/20", "crowd"))
	y.must(y.Docker(t.Context(), "run", "--rm", "--network", "crowd", "boxyard/base", "true")) // what is made once is there
	before, err := y.belongings()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	failed := y.crowd(func(ctx context.Context, n int) error {
		_, err := y.Docker(ctx, "run", "--detach", "--network", "crowd", "--name", fmt.Sprint("crowd-", n), "boxyard/base", "sleep", "86400")
		return err
	})
	t.Logf("%d containers after %v", crowdContainers, time.Since(began).Round(time.Second))
	for _, err := range failed {
		t.Error(err)
	}
	addresses := strings.Fields(y.must(y.Docker(t.Context(), "network", "inspect", "--format", "{{range .Containers}}{{.IPv4Address}} {{end}}", "crowd")))
	slices.Sort(addresses)
	if len(addresses) != crowdContainers || len(slices.Compact(addresses)) != crowdContainers {
		t.Errorf("%d containers have %d addresses", crowdContainers, len(slices.Compact(addresses)))
	}
	if running := lines(y.must(y.Docker(t.Context(), "ps", "--quiet"))); len(running) != crowdContainers {
		t.Errorf("%d of %d containers run", len(running), crowdContainers)
	}
	began = time.Now()
	failed = y.crowd(func(ctx context.Context, n int) error {
		_, err := y.Docker(ctx, "rm", "--force", fmt.Sprint("crowd-", n))
		return err
	})
	t.Logf("they were gone after %v", time.Since(began).Round(time.Second))
	for _, err := range failed {
		t.Error(err)
	}
	y.poll(time.Minute, "nothing is left of them", func() error { return y.hasNoMore(before) })
	y.isReady(10*time.Second, "after the crowd")
}

// crowd does something for each of the containers, as its clients do, and returns the errors.
func (y yard) crowd(do func(ctx context.Context, n int) error) []error {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), 15*time.Minute)
	defer cancel()
	errs := make([]error, crowdContainers)
	var clients sync.WaitGroup
	for client := range crowdClients {
		clients.Go(func() {
			for n := client; n < crowdContainers; n += crowdClients {
				errs[n] = do(ctx, n)
			}
		})
	}
	clients.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}
