package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
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
	Version      int      `json:"version"` // stateFormat when it was written
	NodeName     string   `json:"nodeName"`
	PodCIDRs     []string `json:"podCIDRs"` // IPv4 first
	ServiceCIDRs []string `json:"serviceCIDRs"`
	DockerCIDR   string   `json:"dockerCIDR"`
	DockerPool   string   `json:"dockerPool"`
	// LoadBalancerPools are those of the last start, IPv4 first: what was picked stays, what is
	// configured may change. Empty where Services have the node's addresses.
	LoadBalancerPools []string `json:"loadBalancerPools,omitempty"`

	// Ephemeral says that the data was never written through to the disk (config.Config.Ephemeral).
	Ephemeral bool `json:"ephemeral,omitempty"`

	CgroupRoot string    `json:"cgroupRoot"` // of the last start: what reset ends when config.yaml cannot be read
	Created    time.Time `json:"created"`
	CreatedBy  string    `json:"createdBy"` // Boxyard's version
	UsedBy     string    `json:"usedBy"`    // Boxyard's version at the last start
	// Before is how paths outside our own directories were, which parts write to: reset goes by it.
	Before map[string]Presence `json:"before"`
	// VolumeDirs are the directories that may hold volumes (storage.path), and how each was before: reset goes by it.
	VolumeDirs map[string]Presence `json:"volumeDirs,omitempty"`
	// NFTTables are the nft tables of the time before Boxyard.
	NFTTables []string `json:"nftTables"`
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
	by := "Boxyard " + s.UsedBy
	if s.UsedBy == "" {
		by = "a newer Boxyard"
	}
	return &fault.Error{
		Code:    "data-newer",
		Summary: fmt.Sprintf("the data in %s is of %s (format %d), newer than this %s (format %d)", filepath.Dir(path), by, s.Version, boxyard, stateFormat),
		Hint:    "use " + by + "; or delete the data and start afresh: boxyard reset",
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

// creation is what newState decides from.
type creation struct {
	config   config.Config // its ranges are free: host.PickRanges
	ipv6     bool          // of the host
	hostname string
	boxyard  string
	now      time.Time
}

func newState(c creation) (State, error) {
	name, err := nodeName(c.config.NodeName, c.hostname)
	if err != nil {
		return State{}, err
	}
	n := c.config.Network
	s := State{
		Version: stateFormat, NodeName: name,
		PodCIDRs: []string{n.PodCIDR}, ServiceCIDRs: []string{n.ServiceCIDR},
		DockerCIDR: n.DockerCIDR, DockerPool: n.DockerPool, CgroupRoot: c.config.CgroupRoot,
		Ephemeral: c.config.Ephemeral,
		Created:   c.now, CreatedBy: c.boxyard, UsedBy: c.boxyard,
	}
	if n.IPv6 == "on" || n.IPv6 == "auto" && c.ipv6 {
		s.PodCIDRs = append(s.PodCIDRs, n.PodCIDR6)
		s.ServiceCIDRs = append(s.ServiceCIDRs, n.ServiceCIDR6)
	}
	s.LoadBalancerPools = s.pools(n)
	return s, nil
}

// pools are those that n has for the families of this machine.
func (s State) pools(n config.Network) []string {
	if !n.HasLoadBalancerPool() || len(s.PodCIDRs) == 0 {
		return nil
	}
	return []string{n.LoadBalancerPool, n.LoadBalancerPool6}[:min(len(s.PodCIDRs), 2)]
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
	if c.Ephemeral && !s.Ephemeral {
		return c, &fault.Error{
			Code:    "fixed-at-creation",
			Summary: "ephemeral is asked for, but this machine's data was made to be kept",
			Hint:    "start without it; or delete the data and start afresh: boxyard reset",
			Exit:    fault.ExitUsage,
		}
	}
	for _, f := range []struct {
		key   string
		field *string
		last  string
	}{
		{"network.loadBalancerPool", &c.Network.LoadBalancerPool, nth(s.LoadBalancerPools, 0)},
		{"network.loadBalancerPool6", &c.Network.LoadBalancerPool6, nth(s.LoadBalancerPools, 1)},
	} {
		if f.last != "" && !chosen[f.key] {
			*f.field = f.last
		}
	}
	c.Network.IPv6 = "off"
	if len(s.PodCIDRs) > 1 {
		c.Network.IPv6 = "on"
	}
	return c, nil
}

func nth(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// used is s as this Boxyard leaves it; same says that nothing has changed. before looks at a directory.
func (s State) used(boxyard string, c config.Config, before func(dir string) Presence) (used State, same bool) {
	used = s
	used.Version, used.UsedBy, used.CgroupRoot, used.Ephemeral = stateFormat, boxyard, c.CgroupRoot, c.Ephemeral
	used.LoadBalancerPools = s.pools(c.Network)
	_, known := s.VolumeDirs[c.Storage.Path]
	if !known {
		used.VolumeDirs = map[string]Presence{c.Storage.Path: before(c.Storage.Path)}
		maps.Copy(used.VolumeDirs, s.VolumeDirs)
	}
	return used, known && s.Version == used.Version && s.UsedBy == used.UsedBy && s.CgroupRoot == used.CgroupRoot &&
		s.Ephemeral == used.Ephemeral &&
		slices.Equal(s.LoadBalancerPools, used.LoadBalancerPools)
}
