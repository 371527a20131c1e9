package names

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/network"

	"github.com/boxyard/boxyard/internal/container"
)

// Zone is the domain of the names, which Docker Desktop has made known.
const Zone = "docker.internal"

// table has the addresses of each name below Zone.
type table map[string][]netip.Addr

// newTable knows the host. node is its address that every container and pod has a route to.
func newTable(node netip.Addr) table {
	return table{"host": {node}, "gateway": {node}}
}

func (t table) add(name string, addresses []netip.Addr) {
	for _, a := range addresses {
		if !slices.Contains(t[name], a) {
			t[name] = append(t[name], a)
		}
	}
}

// String is the table as a hosts file (hosts(5)), always in the same order.
func (t table) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t)) {
		for _, a := range slices.SortedFunc(slices.Values(t[name]), netip.Addr.Compare) {
			fmt.Fprintf(&b, "%s %s.%s\n", a, name, Zone)
		}
	}
	return b.String()
}

// Label closes a network that would be open to pods, where it says Closed.
const (
	Label  = "boxyard.pods"
	Closed = "closed"
)

// reach finds out where pods reach containers.
type reach struct {
	node     netip.Addr
	open     bool // whether networks are open to pods at all
	networks map[string]network.Summary
}

// hosts are the names of the host and of all running containers that pods reach.
func (r reach) hosts(all []container.Container) table {
	t := table{}
	for _, c := range all {
		t.add(c.HostNames()[0], r.addresses(c))
	}
	called := maps.Clone(t)
	for _, c := range all {
		for _, name := range c.HostNames()[1:] {
			// What a container is called goes before what Compose calls it, as for container.Find.
			if len(called[name]) == 0 {
				t.add(name, r.addresses(c))
			}
		}
	}
	maps.Copy(t, newTable(r.node))
	return t
}

// addresses are the container's own on networks that are open to pods, else those of the host that lead to a port
// which it publishes.
func (r reach) addresses(c container.Container) []netip.Addr {
	if !c.Running() {
		return nil
	}
	if c.OnHost {
		return []netip.Addr{r.node}
	}
	var found []netip.Addr
	for _, e := range c.Endpoints {
		for _, a := range e.Addresses {
			if r.reaches(r.networks[e.NetworkID], a) {
				found = append(found, a)
			}
		}
	}
	if len(found) > 0 {
		return found
	}
	for _, p := range c.Ports {
		for _, at := range p.Published {
			a := at.Addr()
			switch {
			case !a.Is4() || a.IsLoopback():
				continue
			case a.IsUnspecified():
				a = r.node
			}
			if !slices.Contains(found, a) {
				found = append(found, a)
			}
		}
	}
	return found
}

// The options of moby's bridge driver that let others reach containers directly
// (daemon/libnetwork/drivers/bridge/labels.go, .../internal/nftabler).
const (
	gatewayMode4 = "com.docker.network.bridge.gateway_mode_ipv4"
	gatewayMode6 = "com.docker.network.bridge.gateway_mode_ipv6"
)

// reaches says whether pods reach an address of a network.
func (r reach) reaches(n network.Summary, address netip.Addr) bool {
	if n.Driver != "bridge" || n.Internal {
		return false
	}
	mode := n.Options[gatewayMode4]
	if address.Is6() {
		mode = n.Options[gatewayMode6]
	}
	return r.opens(n) || mode == "routed" || mode == "nat-unprotected"
}

func (r reach) opens(n network.Summary) bool {
	return r.open && n.Driver == "bridge" && !n.Internal && n.Labels[Label] != Closed
}

// ranges are those of the networks that are to be open to pods, sorted.
func (r reach) ranges() []netip.Prefix {
	var all []netip.Prefix
	for _, n := range r.networks {
		if !r.opens(n) {
			continue
		}
		for _, c := range n.IPAM.Config {
			if c.Subnet.IsValid() {
				all = append(all, c.Subnet.Masked())
			}
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all)
}
