package node

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/kubernetes/cmd/kube-proxy/app"
	proxymetrics "k8s.io/kubernetes/pkg/proxy/metrics"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

// ProxyHealthAddress answers /livez when kube-proxy runs, which is before it has written its rules: see ProxyWrote.
const ProxyHealthAddress = "127.0.0.1:10256"

// ProxyUser is who kube-proxy is by its kubeconfig. Upstream's role for it is bound to this name.
const ProxyUser = "system:kube-proxy"

// serviceSync is the least time between two transactions of kube-proxy. Upstream's second spares large clusters; a new
// Service waits for it twice, since its endpoints come right after it.
const serviceSync = 50 * time.Millisecond

// proxyConfiguration names what differs from upstream's defaults.
func proxyConfiguration(c config.Cluster) *kubeproxyv1alpha1.KubeProxyConfiguration {
	configuration := &kubeproxyv1alpha1.KubeProxyConfiguration{
		TypeMeta:           metav1.TypeMeta{Kind: "KubeProxyConfiguration", APIVersion: kubeproxyv1alpha1.SchemeGroupVersion.String()},
		HealthzBindAddress: ProxyHealthAddress,
		MetricsBindAddress: "127.0.0.1:10249",
		HostnameOverride:   c.NodeName,
		Mode:               "nftables",
		ClusterCIDR:        strings.Join(c.PodCIDRs, ","),
		NodePortAddresses:  nodePortAddresses(c),
		DetectLocalMode:    "BridgeInterface",
		DetectLocal:        kubeproxyv1alpha1.DetectLocalConfiguration{BridgeInterface: c.Bridge},
		// The limits of connection tracking belong to the host, and a network namespace may not change them.
		Conntrack: kubeproxyv1alpha1.KubeProxyConntrackConfiguration{
			MaxPerCore:            new(int32(0)),
			Min:                   new(int32(0)),
			TCPEstablishedTimeout: &metav1.Duration{},
			TCPCloseWaitTimeout:   &metav1.Duration{},
		},
	}
	if c.Fast(config.FastServices) {
		configuration.NFTables.MinSyncPeriod = metav1.Duration{Duration: serviceSync}
	}
	configuration.ClientConnection.Kubeconfig = c.PKI("kube-proxy.kubeconfig")
	return configuration
}

// nodePortAddresses: of loopback, kube-proxy's mode nftables knows nothing; package nodeport leads it to the
// node's own address, which therefore always answers, and which no other machine has a route to.
func nodePortAddresses(c config.Cluster) []string {
	if c.NodePorts == config.NodePortsLoopback {
		return []string{"primary"}
	}
	all := []string{"0.0.0.0/0"}
	if len(c.NodeIPs) > 1 {
		all = append(all, "::/0")
	}
	return all
}

// ProxyWrote tells whether kube-proxy has written its rules for this family of addresses once. Its health does not tell:
// a proxier that begins to wait for its first Services counts as updated (k8s.io/kubernetes/pkg/proxy/nftables: SyncLoop).
func ProxyWrote(family corev1.IPFamily) bool {
	var written dto.Metric
	// Before kube-proxy has registered it this is a metric that has no value.
	if err := proxymetrics.SyncProxyRulesLastTimestamp.WithLabelValues(string(family)).Write(&written); err != nil {
		return false
	}
	return written.GetGauge().GetValue() > 0
}

// RunProxy returns when kube-proxy has ended. Its rules stay: published Services go on without it.
func RunProxy(ctx context.Context, c config.Cluster) error {
	data, err := yaml.Marshal(proxyConfiguration(c))
	if err != nil {
		return err
	}
	file := c.Run("kube-proxy.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	options := app.NewOptions()
	options.ConfigFile = file
	flags := pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	options.AddFlags(flags)
	if err := options.Complete(flags); err != nil {
		return fmt.Errorf("kube-proxy configuration: %w", err)
	}
	if err := options.Validate(); err != nil {
		return fmt.Errorf("kube-proxy configuration: %w", err)
	}
	// Run does not look at ctx once it has started (cmd/kube-proxy/app/server.go).
	ended := make(chan error, 1)
	go func() { ended <- options.Run(ctx) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return fmt.Errorf("kube-proxy: %w", err)
	}
}
