package cluster

import (
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/paths"
)

func options() Options {
	return Options{
		Layout:   paths.Default(),
		Boxyard:  "the boxyard version",
		NodeName: "laptop",
		NodeIPs:  []netip.Addr{netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("fd42:b0c5:42::1")},
		APIPort:  6443,
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("fd42:b0c5:42::/48")},
		ServiceCIDRs: []netip.Prefix{
			netip.MustParsePrefix("10.43.0.0/16"), netip.MustParsePrefix("fd42:b0c5:43::/112"),
		},
		LoadBalancerPools: []netip.Prefix{
			netip.MustParsePrefix("10.46.0.0/24"), netip.MustParsePrefix("fd42:b0c5:46::/112"),
		},
		NodePorts:       "all",
		ClusterDNS:      []netip.Addr{netip.MustParseAddr("10.43.0.10")},
		DNSPort:         10053,
		Bridge:          "boxyard0",
		CgroupRoot:      "/boxyard",
		CgroupDriver:    "cgroupfs",
		ImagesInUseFile: "/var/lib/boxyard/images-in-use.json",
		ResolvConf:      "/etc/resolv.conf",
		Audit: Audit{
			LogFile: paths.Default().AuditLog(), MaxSizeMB: 100, MaxBackups: 10, MaxAgeDays: 30,
		},
		VolumesDir:       "/var/lib/boxyard/volumes",
		DiskLimitPercent: 80,
	}
}

func TestConfigIsGolden(t *testing.T) {
	got, err := NewConfig(options()).encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/cluster.json")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
}

func TestSingleStackHasOneMaskSize(t *testing.T) {
	o := options()
	o.PodCIDRs = o.PodCIDRs[:1]
	if d := cmp.Diff([]int{22}, NewConfig(o).NodeCIDRMaskSizes); d != "" {
		t.Error(d)
	}
}

func TestAuditPolicyIsLookedAtBeforeEachStart(t *testing.T) {
	for name, tt := range map[string]struct {
		audit Audit
		wrong bool
	}{
		"off":      {Audit{PolicyFile: "/nonexistent"}, false},
		"built in": {Audit{Enabled: true}, false},
		"missing":  {Audit{Enabled: true, PolicyFile: "/nonexistent"}, true},
	} {
		if err := tt.audit.check(); (err != nil) != tt.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}
