package config

import "testing"

// The golden files are written by the daemon's tests; reading them strictly here keeps both sides equal.
func TestGoldenFiles(t *testing.T) {
	cluster, err := LoadCluster("../../../internal/component/cluster/testdata/cluster.json")
	if err != nil {
		t.Fatal(err)
	}
	if cluster.NodeName == "" || cluster.CRISocket == "" || cluster.Bridge == "" {
		t.Errorf("fields are missing: %+v", cluster)
	}
	dns, err := LoadDNS("../../../internal/component/dns/testdata/dns.json")
	if err != nil {
		t.Fatal(err)
	}
	if dns.Kubeconfig == "" || dns.SnapshotFile == "" {
		t.Errorf("fields are missing: %+v", dns)
	}
}
