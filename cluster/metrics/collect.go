package metrics

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/cluster/ports"
	"sigs.k8s.io/metrics-server/pkg/scraper"
	"sigs.k8s.io/metrics-server/pkg/scraper/client"
	"sigs.k8s.io/metrics-server/pkg/scraper/client/resource"
)

const (
	// resolution is how often a kubelet is asked, as metrics-server's own manifest has it.
	resolution = 15 * time.Second
	// A rate needs two measurements, and the kubelet makes one about every ten seconds. To ask at its own pace would
	// make the first answer a matter of up to thirty seconds; so it is asked more often until there is one.
	eager, eagerAtMost = 3 * time.Second, 20
	timeout            = 10 * time.Second
)

// Collect asks each node's kubelet until ctx is done. Its identity must have the right to get nodes/metrics.
// A kubelet that does not answer leaves a gap, which is logged, and is asked again.
func (m *Metrics) Collect(ctx context.Context, identity *rest.Config) error {
	kubelets := client.KubeletClientConfig{
		Client:              rest.Config{TLSClientConfig: identity.TLSClientConfig, Timeout: timeout},
		AddressTypePriority: []corev1.NodeAddressType{corev1.NodeInternalIP},
		Scheme:              "https",
		DefaultPort:         ports.KubeletPort,
		UseNodeStatusPort:   true,
	}
	asking, err := resource.NewForConfig(&kubelets)
	if err != nil {
		return fmt.Errorf("client for the kubelets: %w", err)
	}
	m.collect(ctx, scraper.NewScraper(m.nodes, asking, timeout, nil))
	return nil
}

func (m *Metrics) collect(ctx context.Context, from scraper.Scraper) {
	for i := 0; ; i++ {
		limited, cancel := context.WithTimeout(ctx, timeout)
		m.store.Store(from.Scrape(limited))
		cancel()
		pause := resolution
		if i < eagerAtMost && !m.answers() {
			pause = eager
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// answers says whether any node's usage is known.
func (m *Metrics) answers() bool {
	nodes, err := m.nodes.List(labels.Everything())
	if err != nil {
		return false
	}
	usage, err := m.store.GetNodeMetrics(nodes...)
	return err == nil && len(usage) > 0
}
