package daemon

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/host"
)

func create() creation {
	return creation{
		config: config.Default(), ipv6: true, hostname: "My_Laptop.example.org",
		boxyard: "v1.2.3", now: time.Unix(1700000000, 0).UTC(),
	}
}

func TestNewStateTakesTheDefaults(t *testing.T) {
	got, err := newState(create())
	if err != nil {
		t.Fatal(err)
	}
	want := State{
		Version: 1, NodeName: "my-laptop",
		PodCIDRs:     []string{"10.42.0.0/16", "fd42:b0c5:42::/48"},
		ServiceCIDRs: []string{"10.43.0.0/16", "fd42:b0c5:43::/112"},
		DockerCIDR:   "10.44.0.0/16", DockerPool: "10.45.0.0/16", CgroupRoot: "boxyard",
		LoadBalancerPools: []string{"10.46.0.0/24", "fd42:b0c5:46::/112"},
		Created:           time.Unix(1700000000, 0).UTC(), CreatedBy: "v1.2.3", UsedBy: "v1.2.3",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNewStateWithoutIPv6(t *testing.T) {
	for _, change := range []func(*creation){
		func(c *creation) { c.ipv6 = false },
		func(c *creation) { c.config.Network.IPv6 = "off" },
	} {
		c := create()
		change(&c)
		s, err := newState(c)
		if err != nil || len(s.PodCIDRs) != 1 || len(s.ServiceCIDRs) != 1 {
			t.Errorf("%+v, %v", s, err)
		}
		got, err := s.apply(config.Default(), nil)
		if err != nil || got.Network.IPv6 != "off" {
			t.Errorf("IPv6 must stay off: %q, %v", got.Network.IPv6, err)
		}
	}
}

func TestNodeName(t *testing.T) {
	for _, tt := range []struct{ configured, host, want string }{
		{"given", "host", "given"}, {"", "Host", "host"}, {"", "-a_b-.x", "a-b"}, {"", strings.Repeat("x", 70), strings.Repeat("x", 63)},
	} {
		if got, err := nodeName(tt.configured, tt.host); err != nil || got != tt.want {
			t.Errorf("nodeName(%q, %q) = %q, %v", tt.configured, tt.host, got, err)
		}
	}
	if _, err := nodeName("", "___"); fault.Code(err) != "host-name" {
		t.Error(err)
	}
}

func TestLoadState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "state.json")
	if _, err := LoadState(path, "v1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	s, err := newState(create())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadState(path, "v1")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, got); d != "" {
		t.Error(d)
	}
	for content, code := range map[string]string{
		`{"version":99,"createdBy":"v7","usedBy":"v9.0.0"}`: "data-newer",
		`{"version":99`: "state-corrupt",
		`{}`:            "state-corrupt",
		``:              "state-corrupt",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := LoadState(path, "v1")
		if fault.Code(err) != code {
			t.Errorf("%q: %v", content, err)
		}
		var f *fault.Error
		if code == "data-newer" && errors.As(err, &f) && !strings.Contains(f.Hint, "v9.0.0") {
			t.Errorf("the hint does not say which version to use: %s", f.Hint)
		}
	}
}

func TestUsedKeepsDecisions(t *testing.T) {
	before := func(string) Presence { return Used }
	c := config.Default()
	s := State{
		Version: 1, NodeName: "one", CreatedBy: "v1", UsedBy: "v1", CgroupRoot: c.CgroupRoot,
		VolumeDirs: map[string]Presence{c.Storage.Path: Absent},
	}
	if got, same := s.used("v1", c, before); !same || cmp.Diff(s, got) != "" {
		t.Errorf("nothing has changed: %s", cmp.Diff(s, got))
	}
	want := s
	want.UsedBy, want.CgroupRoot = "v2", "other"
	want.VolumeDirs = map[string]Presence{c.Storage.Path: Absent, "/srv/volumes": Used}
	c.CgroupRoot, c.Storage.Path = "other", "/srv/volumes"
	if got, same := s.used("v2", c, before); same || cmp.Diff(want, got) != "" {
		t.Error(cmp.Diff(want, got))
	}
	if len(s.VolumeDirs) != 1 {
		t.Error("the state before was changed")
	}
}

func TestApplyRefusesAChangedChoice(t *testing.T) {
	s, err := newState(create())
	if err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Network.PodCIDR = "10.99.0.0/16"
	if _, err := s.apply(c, map[string]bool{"network.podCIDR": true}); fault.Code(err) != "fixed-at-creation" {
		t.Error(err)
	}
	got, err := s.apply(c, map[string]bool{})
	if err != nil || got.Network.PodCIDR != "10.42.0.0/16" || got.NodeName != "my-laptop" {
		t.Errorf("%+v, %v", got, err)
	}
}

// Unlike the other ranges, the pool of load balancer addresses may change: a choice counts, and what
// was picked stays as long as there is none.
func TestEphemeralIsForNewDataOnly(t *testing.T) {
	throwAway := config.Default()
	throwAway.Ephemeral = true
	kept, err := newState(create())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.apply(throwAway, nil); fault.Code(err) != "fixed-at-creation" {
		t.Errorf("data that was made to be kept: %v", err)
	}
	c := create()
	c.config = throwAway
	s, err := newState(c)
	if err != nil || !s.Ephemeral {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := s.apply(throwAway, nil); err != nil {
		t.Errorf("started again: %v", err)
	}
	// Turned off, it stays off.
	s, same := s.used("v1.2.3", config.Default(), func(string) Presence { return "" })
	if s.Ephemeral || same {
		t.Errorf("turned off: %v, unchanged %v", s.Ephemeral, same)
	}
}

func TestLoadBalancerPoolMayChange(t *testing.T) {
	start := create()
	start.config.Network.LoadBalancerPool = "10.99.0.0/24"
	s, err := newState(start)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.apply(config.Default(), nil)
	if err != nil || c.Network.LoadBalancerPool != "10.99.0.0/24" || c.Network.LoadBalancerPool6 != "fd42:b0c5:46::/112" {
		t.Errorf("what was picked: %+v, %v", c.Network, err)
	}
	for _, choice := range []string{"10.98.0.0/28", config.NodeAddress} {
		changed := config.Default()
		changed.Network.LoadBalancerPool = choice
		c, err := s.apply(changed, map[string]bool{"network.loadBalancerPool": true})
		if err != nil || c.Network.LoadBalancerPool != choice {
			t.Errorf("%s: %q, %v", choice, c.Network.LoadBalancerPool, err)
		}
		used, same := s.used("v1.2.3", c, func(string) Presence { return Used })
		r, err := used.ranges()
		if same || err != nil || (len(r.balancers) == 2) != c.Network.HasLoadBalancerPool() {
			t.Errorf("%s: state %v, ranges %v, %v", choice, used.LoadBalancerPools, r.balancers, err)
		}
	}
}

// Data of a Boxyard without load balancers may have its ranges where the pool is by default.
func TestPoolIsPickedForOlderData(t *testing.T) {
	d, _ := newTestDaemon(layout(t))
	c := config.Default()
	c.Network.PodCIDR = "10.46.0.0/16"
	got := d.pickPools(c, host.Facts{Routes: []host.Route{{Dst: netip.MustParsePrefix("10.47.0.0/16"), Dev: "eth0"}}})
	if got.Network.LoadBalancerPool != "10.48.0.0/24" || got.Network.PodCIDR != "10.46.0.0/16" {
		t.Errorf("%+v", got.Network)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	d.o.Chosen = map[string]bool{"network.loadBalancerPool": true}
	if got := d.pickPools(c, host.Facts{}); got.Network.LoadBalancerPool != c.Network.LoadBalancerPool {
		t.Errorf("the user's choice became %s", got.Network.LoadBalancerPool)
	}
}
