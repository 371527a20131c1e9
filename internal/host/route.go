package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/config"
)

// Route is a network that this machine reaches in some way.
type Route struct {
	Dst       netip.Prefix
	Dev       string // "" for one without an interface
	Blackhole bool
}

func (r Route) String() string {
	if r.Dev == "" {
		return r.Dst.String()
	}
	return r.Dst.String() + " dev " + r.Dev
}

// routes lists those of all tables, since VPNs keep theirs in tables of their own,
// and the networks of all addresses, since an address may have no route.
func routes() ([]Route, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	list, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var found []Route
	for _, r := range list {
		dst, ok := prefixOf(r.Dst)
		if !ok || r.Table == unix.RT_TABLE_LOCAL {
			continue
		}
		found = append(found, Route{Dst: dst, Dev: names[r.LinkIndex], Blackhole: r.Type == unix.RTN_BLACKHOLE})
	}
	addresses, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if dst, ok := prefixOf(a.IPNet); ok {
			found = append(found, Route{Dst: dst, Dev: names[a.LinkIndex]})
		}
	}
	return found, nil
}

// dump asks again when the kernel says that its list changed while it was read.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 10
	for try := 1; ; try++ {
		found, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == tries {
			return found, err
		}
	}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones).Masked(), ok
}

// within tells whether the route takes addresses out of p.
func (r Route) within(p netip.Prefix) bool {
	return r.Dst.Bits() >= p.Bits() && p.Contains(r.Dst.Addr())
}

// foreign tells whether a route is somebody's claim to a network: not the default
// route or halves of it, as VPNs set, and not what Boxyard with this configuration makes.
func (r Route) foreign(n config.Network) bool {
	if shortest := 3; r.Dst.Bits() <= shortest {
		return false
	}
	if r.Dev == n.Bridge || r.Dev == n.DockerBridge {
		return false
	}
	if r.Blackhole {
		return r.Dst.String() != n.PodCIDR && r.Dst.String() != n.PodCIDR6
	}
	if r.Dev == "lo" {
		ours := []string{n.ServiceCIDR, n.ServiceCIDR6, n.LoadBalancerPool, n.LoadBalancerPool6}
		return !slices.Contains(ours, r.Dst.String()) && !r.Dst.Addr().IsLoopback()
	}
	// A network that our own Docker engine made earlier.
	pool, err := netip.ParsePrefix(n.DockerPool)
	return err != nil || !strings.HasPrefix(r.Dev, "br-") || !pool.Contains(r.Dst.Addr()) || r.Dst.Bits() < pool.Bits()
}
