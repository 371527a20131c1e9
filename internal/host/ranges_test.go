package host

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/config"
)

func routesTo(prefixes ...string) []Route {
	var list []Route
	for _, p := range prefixes {
		list = append(list, Route{Dst: netip.MustParsePrefix(p), Dev: "tun0"})
	}
	return list
}

func TestPickRanges(t *testing.T) {
	tests := map[string]struct {
		routes []Route
		set    func(*config.Network)
		keys   map[string]bool
		want   func(*config.Network)
		faults []string
	}{
		"all free": {routes: routesTo("0.0.0.0/0", "192.168.0.0/16", "::/0")},
		"halves of the default route, as VPNs set them": {routes: routesTo("0.0.0.0/1", "128.0.0.0/1", "2000::/3")},
		"one is taken": {
			routes: routesTo("10.42.9.0/24"),
			want:   func(n *config.Network) { n.PodCIDR = "10.47.0.0/16" },
		},
		"all of 10/8 is taken": {
			routes: routesTo("10.0.0.0/8"),
			want: func(n *config.Network) {
				n.LoadBalancerPool = "172.27.0.0/24"
				n.PodCIDR, n.ServiceCIDR, n.DockerCIDR, n.DockerPool = "172.31.0.0/16", "172.30.0.0/16", "172.29.0.0/16", "172.28.0.0/16"
			},
		},
		"all private networks are taken": {
			routes: routesTo("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
			want: func(n *config.Network) {
				n.LoadBalancerPool = "100.123.0.0/24"
				n.PodCIDR, n.ServiceCIDR, n.DockerCIDR, n.DockerPool = "100.127.0.0/16", "100.126.0.0/16", "100.125.0.0/16", "100.124.0.0/16"
			},
		},
		"IPv6": {
			routes: routesTo("fd42:b0c5:42::/48"),
			want:   func(n *config.Network) { n.PodCIDR6 = "fd42:b0c5:142::/48" },
		},
		"the user's choice is free, and where a default is": {
			set:  func(n *config.Network) { n.PodCIDR = "10.44.0.0/16" },
			keys: map[string]bool{"network.podCIDR": true},
			want: func(n *config.Network) { n.PodCIDR, n.DockerCIDR = "10.44.0.0/16", "10.47.0.0/16" },
		},
		"the user's choice is taken": {
			routes: routesTo("10.60.0.0/14"),
			set:    func(n *config.Network) { n.PodCIDR = "10.60.0.0/16" },
			keys:   map[string]bool{"network.podCIDR": true},
			want:   func(n *config.Network) { n.PodCIDR = "10.60.0.0/16" },
			faults: []string{"network.podCIDR 10.60.0.0/16 overlaps a network of this host: 10.60.0.0/14 dev tun0"},
		},
		"nothing is free": {
			routes: routesTo("10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10"),
			faults: []string{"no range like 10.42.0.0/16", "no range like 10.43", "no range like 10.44", "no range like 10.45", "no range like 10.46"},
		},
		"what is left of ourselves": {
			routes: []Route{
				{Dst: netip.MustParsePrefix("10.42.0.0/16"), Blackhole: true},
				{Dst: netip.MustParsePrefix("10.42.0.0/22"), Dev: "boxyard0"},
				{Dst: netip.MustParsePrefix("10.43.0.0/16"), Dev: "lo"},
				{Dst: netip.MustParsePrefix("10.46.0.0/24"), Dev: "lo"},
				{Dst: netip.MustParsePrefix("10.45.0.0/24"), Dev: "br-0123456789ab"},
			},
		},
		"a blackhole that is not ours": {
			routes: []Route{{Dst: netip.MustParsePrefix("10.42.0.0/15"), Blackhole: true}},
			want:   func(n *config.Network) { n.PodCIDR, n.ServiceCIDR = "10.47.0.0/16", "10.48.0.0/16" },
		},
		"the load balancers' pool is taken": {
			routes: routesTo("10.46.0.0/16", "fd42:b0c5:46::/64"),
			want: func(n *config.Network) {
				n.LoadBalancerPool, n.LoadBalancerPool6 = "10.47.0.0/24", "fd42:b0c5:146::/112"
			},
		},
		"load balancers have the node's address": {
			routes: routesTo("10.46.0.0/16"),
			set:    func(n *config.Network) { n.LoadBalancerPool = config.NodeAddress },
			keys:   map[string]bool{"network.loadBalancerPool": true},
			want:   func(n *config.Network) { n.LoadBalancerPool = config.NodeAddress },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, want := config.Default(), config.Default()
			if tt.set != nil {
				tt.set(&c.Network)
			}
			if tt.want != nil {
				tt.want(&want.Network)
			}
			got, faults := PickRanges(tt.routes, c, tt.keys)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(faults) != len(tt.faults) {
				t.Fatalf("faults: %v", faults)
			}
			for i, f := range faults {
				if !strings.Contains(f.Summary, tt.faults[i]) || f.Hint == "" {
					t.Errorf("fault %+v lacks %q", *f, tt.faults[i])
				}
			}
			if err := got.Validate(); err != nil && len(faults) == 0 {
				t.Errorf("not valid: %v", err)
			}
		})
	}
}
