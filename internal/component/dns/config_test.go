package dns

import (
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/paths"
)

func TestConfigIsGolden(t *testing.T) {
	got, err := NewConfig(Options{
		Layout:     paths.Default(),
		Listen:     []netip.Addr{netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("fd42:b0c5:42::1")},
		Port:       10053,
		ResolvConf: "/etc/resolv.conf",
		HostsFile:  "/run/boxyard/names/hosts",
	}).encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/dns.json")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
}
