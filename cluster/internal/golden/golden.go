// Package golden compares what a test has built with a file under testdata.
// With UPDATE_GOLDEN=1 in the environment it writes the file instead.
package golden

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

// Equal fails the test when got is not the content of testdata/name.
func Equal(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// Cluster is the configuration that the daemon's golden file has; root is the path to the repository.
func Cluster(t *testing.T, root string) config.Cluster {
	t.Helper()
	c, err := config.LoadCluster(filepath.Join(root, "internal/component/cluster/testdata/cluster.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// SingleStack is the same without its second family.
func SingleStack(c config.Cluster) config.Cluster {
	c.NodeIPs, c.PodCIDRs, c.ServiceCIDRs = c.NodeIPs[:1], c.PodCIDRs[:1], c.ServiceCIDRs[:1]
	c.NodeCIDRMaskSizes, c.LoadBalancerPools = c.NodeCIDRMaskSizes[:1], c.LoadBalancerPools[:1]
	return c
}

// DNS is Cluster for the dns process.
func DNS(t *testing.T, root string) config.DNS {
	t.Helper()
	c, err := config.LoadDNS(filepath.Join(root, "internal/component/dns/testdata/dns.json"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
