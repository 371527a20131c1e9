package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
)

// stateFormat is the number of state.json's format. It grows when a data directory of today
// could not be used by the Boxyard of yesterday.
const stateFormat = 1

// State is state.json: what is decided when a data directory is created and is hard to change later.
type State struct {
	Version      int       `json:"version"` // stateFormat when it was written
	NodeName     string    `json:"nodeName"`
	PodCIDRs     []string  `json:"podCIDRs"` // IPv4 first
	ServiceCIDRs []string  `json:"serviceCIDRs"`
	DockerCIDR   string    `json:"dockerCIDR"`
	DockerPool   string    `json:"dockerPool"`
	Created      time.Time `json:"created"`
	CreatedBy    string    `json:"createdBy"` // Boxyard's version
	UsedBy       string    `json:"usedBy"`    // Boxyard's version at the last start
	// KubeletDir says that /var/lib/kubelet was not there before, so that reset may remove it.
	KubeletDir bool `json:"kubeletDir"`
}

// LoadState reads state.json; fs.ErrNotExist is for the caller to see.
func LoadState(path, boxyard string) (State, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return State{}, fmt.Errorf("read what was decided at creation: %w", err)
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil || s.Version < 1 {
		return State{}, &fault.Error{
			Code:    "state-corrupt",
			Summary: path + " is damaged",
			Hint:    "restore it from a backup, or start afresh: boxyard reset",
			Cause:   err,
		}
	}
	if s.Version > stateFormat {
		return State{}, newerData(path, s, boxyard)
	}
	return s, nil
}

func newerData(path string, s State, boxyard string) error {
	by := s.UsedBy
	if by == "" {
		by = s.CreatedBy
	}
	return &fault.Error{
		Code:    "data-newer",
		Summary: fmt.Sprintf("the data in %s was last used by Boxyard %s (format %d), and this is %s (format %d)", filepath.Dir(path), by, s.Version, boxyard, stateFormat),
		Hint:    fmt.Sprintf("use Boxyard %s or newer; or delete the data and start afresh: boxyard reset", by),
	}
}

// Save replaces the file so that a power cut leaves the old content or the new.
func (s State) Save(path string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return err
	}
	return atomicfile.Write(path, append(data, '\n'), 0o644)
}

// creation is what NewState decides from.
type creation struct {
	config   config.Config
	chosen   map[string]bool // keys that the user set: they are never replaced
	ipv6     bool
	hostname string
	routes   []netip.Prefix // of the host, the default route and ours aside
	boxyard  string
	now      time.Time
}

// newState decides. A default range that overlaps a route of the host gives way to a free one.
func newState(c creation) (State, error) {
	name, err := nodeName(c.config.NodeName, c.hostname)
	if err != nil {
		return State{}, err
	}
	s := State{Version: stateFormat, NodeName: name, Created: c.now, CreatedBy: c.boxyard, UsedBy: c.boxyard}
	n := c.config.Network
	ranges := []struct {
		key, value string
		wanted     bool
		put        func(string)
	}{
		{"network.podCIDR", n.PodCIDR, true, func(v string) { s.PodCIDRs = append(s.PodCIDRs, v) }},
		{"network.podCIDR6", n.PodCIDR6, c.ipv6, func(v string) { s.PodCIDRs = append(s.PodCIDRs, v) }},
		{"network.serviceCIDR", n.ServiceCIDR, true, func(v string) { s.ServiceCIDRs = append(s.ServiceCIDRs, v) }},
		{"network.serviceCIDR6", n.ServiceCIDR6, c.ipv6, func(v string) { s.ServiceCIDRs = append(s.ServiceCIDRs, v) }},
		{"network.dockerCIDR", n.DockerCIDR, true, func(v string) { s.DockerCIDR = v }},
		{"network.dockerPool", n.DockerPool, true, func(v string) { s.DockerPool = v }},
	}
	taken := slices.Clone(c.routes)
	for _, r := range ranges { // a default must not take the place of a range that the user chose
		if p, err := netip.ParsePrefix(r.value); err == nil && c.chosen[r.key] {
			taken = append(taken, p)
		}
	}
	for _, r := range ranges {
		if !r.wanted {
			continue
		}
		p, err := netip.ParsePrefix(r.value)
		if err != nil {
			return State{}, fmt.Errorf("%s: %w", r.key, err)
		}
		if !c.chosen[r.key] {
			if p, err = freeRange(r.key, p, taken); err != nil {
				return State{}, err
			}
			taken = append(taken, p)
		}
		r.put(p.String())
	}
	return s, nil
}

// freeRange returns p, or the first range of its size, stepping through its neighbourhood, that overlaps nothing.
func freeRange(key string, p netip.Prefix, taken []netip.Prefix) (netip.Prefix, error) {
	overlaps := func(p netip.Prefix) bool {
		for _, t := range taken {
			if t.Overlaps(p) {
				return true
			}
		}
		return false
	}
	for i := range 256 {
		candidate := shifted(p, i)
		if !overlaps(candidate) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, &fault.Error{
		Code:    "no-free-range",
		Summary: fmt.Sprintf("no range like %s is free: the routes of this host cover all of them", p),
		Hint:    "set a free one as " + key + " in config.yaml",
	}
}

// shifted moves the second byte of an IPv4 range, and the fifth of an IPv6 range, by i odd steps
// around the circle, so that the first steps land far from a neighbour that is taken too.
func shifted(p netip.Prefix, i int) netip.Prefix {
	const step = 37
	raw := p.Addr().AsSlice()
	at := 1
	if p.Addr().Is6() {
		at = 4 // fd42:b0c5:XX42::
	}
	raw[at] += byte(i * step)
	addr, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(addr, p.Bits()).Masked()
}

// nodeName makes a name that Kubernetes takes: a DNS label of RFC 1123.
func nodeName(configured, hostname string) (string, error) {
	if configured != "" {
		return configured, nil
	}
	short, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	name := strings.Trim(regexp.MustCompile(`[^a-z0-9-]+`).ReplaceAllString(short, "-"), "-")
	if len(name) > 63 {
		name = strings.Trim(name[:63], "-")
	}
	if name == "" {
		return "", &fault.Error{
			Code:    "host-name",
			Summary: fmt.Sprintf("no node name can be made of the host name %q", hostname),
			Hint:    "set nodeName in config.yaml: lower-case letters, digits and '-'",
		}
	}
	return name, nil
}

// apply puts what was decided in the place of what is configured, and refuses a configuration in
// which the user now asks for something else.
func (s State) apply(c config.Config, chosen map[string]bool) (config.Config, error) {
	for _, f := range []struct {
		key     string
		field   *string
		decided string
	}{
		{"nodeName", &c.NodeName, s.NodeName},
		{"network.podCIDR", &c.Network.PodCIDR, nth(s.PodCIDRs, 0)},
		{"network.podCIDR6", &c.Network.PodCIDR6, nth(s.PodCIDRs, 1)},
		{"network.serviceCIDR", &c.Network.ServiceCIDR, nth(s.ServiceCIDRs, 0)},
		{"network.serviceCIDR6", &c.Network.ServiceCIDR6, nth(s.ServiceCIDRs, 1)},
		{"network.dockerCIDR", &c.Network.DockerCIDR, s.DockerCIDR},
		{"network.dockerPool", &c.Network.DockerPool, s.DockerPool},
	} {
		if f.decided == "" { // IPv6 was off at creation
			continue
		}
		if chosen[f.key] && *f.field != "" && *f.field != f.decided {
			return c, &fault.Error{
				Code:    "fixed-at-creation",
				Summary: fmt.Sprintf("%s is %s in the configuration, but this machine's data was made with %s", f.key, *f.field, f.decided),
				Hint:    fmt.Sprintf("set it back to %s; or delete the data and start afresh: boxyard reset", f.decided),
				Exit:    fault.ExitUsage,
			}
		}
		*f.field = f.decided
	}
	return c, nil
}

func nth(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// loadOrDecide returns state.json as it is, or decides and writes it.
func loadOrDecide(path string, decide func() (State, error), boxyard string) (State, error) {
	s, err := LoadState(path, boxyard)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if s, err = decide(); err != nil {
			return State{}, err
		}
	case err != nil:
		return State{}, err
	case s.UsedBy == boxyard && s.Version == stateFormat:
		return s, nil
	}
	s.Version, s.UsedBy = stateFormat, boxyard
	if err := s.Save(path); err != nil {
		return State{}, fmt.Errorf("write what was decided at creation: %w", err)
	}
	return s, nil
}
