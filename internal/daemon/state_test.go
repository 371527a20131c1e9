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
)

func create() creation {
	return creation{
		config: config.Default(), chosen: map[string]bool{}, ipv6: true, hostname: "My_Laptop.example.org",
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
		DockerCIDR:   "10.44.0.0/16", DockerPool: "10.45.0.0/16",
		Created: time.Unix(1700000000, 0).UTC(), CreatedBy: "v1.2.3", UsedBy: "v1.2.3",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestNewStateAvoidsRoutesAndItsOwnRanges(t *testing.T) {
	c := create()
	c.ipv6 = false
	c.routes = []netip.Prefix{netip.MustParsePrefix("10.42.7.0/24"), netip.MustParsePrefix("10.45.8.0/24")}
	c.chosen = map[string]bool{"network.serviceCIDR": true}
	c.config.Network.ServiceCIDR = "10.44.0.0/16" // Docker's default must give way to it
	s, err := newState(c)
	if err != nil {
		t.Fatal(err)
	}
	if s.ServiceCIDRs[0] != "10.44.0.0/16" {
		t.Errorf("the user's range was replaced by %s", s.ServiceCIDRs[0])
	}
	all := append([]netip.Prefix{}, c.routes...)
	for _, text := range append(append(s.PodCIDRs, s.ServiceCIDRs...), s.DockerCIDR, s.DockerPool) {
		p := netip.MustParsePrefix(text)
		for _, o := range all {
			if p.Overlaps(o) {
				t.Errorf("%s overlaps %s", p, o)
			}
		}
		all = append(all, p)
	}
}

func TestNewStateWithNoFreeRange(t *testing.T) {
	c := create()
	c.routes = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	if _, err := newState(c); fault.Code(err) != "no-free-range" {
		t.Error(err)
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

func TestNewerDataIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	content := `{"version":99,"usedBy":"v9"}`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := loadOrDecide(path, func() (State, error) { t.Error("decided anew"); return State{}, nil }, "v1")
	if fault.Code(err) != "data-newer" {
		t.Error(err)
	}
	if data, _ := os.ReadFile(path); string(data) != content {
		t.Errorf("the file was changed: %s", data)
	}
}

func TestLoadOrDecideKeepsDecisions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	decide := func(name string) func() (State, error) {
		return func() (State, error) { return State{NodeName: name, CreatedBy: "v1"}, nil }
	}
	if _, err := loadOrDecide(path, decide("one"), "v1"); err != nil {
		t.Fatal(err)
	}
	s, err := loadOrDecide(path, decide("two"), "v2")
	if err != nil || s.NodeName != "one" || s.CreatedBy != "v1" || s.UsedBy != "v2" {
		t.Errorf("%+v, %v", s, err)
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
