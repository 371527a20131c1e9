package node

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	kubeproxyconfig "k8s.io/kubernetes/pkg/proxy/apis/config"
	proxymetrics "k8s.io/kubernetes/pkg/proxy/metrics"
)

func TestProxyWroteFollowsItsTransactions(t *testing.T) {
	if ProxyWrote(corev1.IPv4Protocol) {
		t.Error("before kube-proxy has begun its rules count as written")
	}
	proxymetrics.RegisterMetrics(kubeproxyconfig.ProxyModeNFTables)
	if ProxyWrote(corev1.IPv4Protocol) {
		t.Error("before its first transaction its rules count as written")
	}
	proxymetrics.SyncProxyRulesLastTimestamp.WithLabelValues(string(corev1.IPv4Protocol)).SetToCurrentTime()
	if !ProxyWrote(corev1.IPv4Protocol) || ProxyWrote(corev1.IPv6Protocol) {
		t.Error("after a transaction of IPv4 those of IPv4 do not count as written, or those of IPv6 do")
	}
}
