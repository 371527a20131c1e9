// Package queues keeps client-go's work queues from counting what happens in them. There are a hundred of them in the
// process, and each that has metrics wakes it twice a second, idle or not.
package queues

import (
	"fmt"
	_ "unsafe" // go:linkname

	"k8s.io/client-go/util/workqueue"
)

// provider is where queues without a provider of their own get their metrics from (k8s.io/client-go
// util/workqueue/metrics.go). It can be set once, and component-base's package metrics/prometheus/workqueue does that
// before main.
//
//go:linkname provider k8s.io/client-go/util/workqueue.globalMetricsProvider
var provider workqueue.MetricsProvider //nolint:gochecknoglobals // it is upstream's

// none is the provider that client-go begins with; only for it no queue is woken. Packages are initialised in the order
// of their import paths where they do not depend on each other, so this one comes before component-base's.
var none = provider //nolint:gochecknoglobals // it has to be read before main

// WithoutMetrics makes queues that are made after it keep no metrics.
func WithoutMetrics() error {
	if name := fmt.Sprintf("%T", none); name != "workqueue.noopMetricsProvider" {
		return fmt.Errorf("client-go begins with %s where another provider of metrics was expected", name)
	}
	provider = none
	return nil
}
