package queues_test

import (
	"testing"
	"testing/synctest"

	"k8s.io/client-go/util/workqueue"
	_ "k8s.io/component-base/metrics/prometheus/workqueue" // sets its provider before main

	"github.com/boxyard/boxyard/cluster/internal/queues"
)

func TestWithoutMetrics(t *testing.T) {
	if err := queues.WithoutMetrics(); err != nil {
		t.Fatal(err)
	}
	// A queue with metrics has a goroutine until it is shut down, which synctest would complain of.
	synctest.Test(t, func(*testing.T) {
		workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[string]{Name: "a"})
	})
}
