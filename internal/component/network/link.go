package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/fault"
)

// port is an interface of a pod or container on one of our bridges.
type port struct {
	index   int
	name    string
	hairpin bool
}

// ensureBridge makes what of b is missing, and tells what that was.
func ensureBridge(proc string, b bridge) (netlink.Link, []string, error) {
	var made []string
	link, err := netlink.LinkByName(b.name)
	if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
		made = append(made, "bridge "+b.name)
		link, err = addBridge(b)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("bridge %s: %w", b.name, err)
	}
	if link.Type() != "bridge" {
		return nil, nil, &fault.Error{
			Code:    "bridge-taken",
			Summary: fmt.Sprintf("interface %s is there already and is no bridge (its type is %s)", b.name, link.Type()),
			Hint:    fmt.Sprintf("ip link delete %s, or set network.bridge or network.dockerBridge to another name", b.name),
		}
	}
	set, err := setSysctls(proc, b.sysctls)
	if err != nil {
		return nil, nil, err
	}
	made = append(made, set...)
	addresses, err := ensureAddresses(link, b)
	if err != nil {
		return nil, nil, err
	}
	made = append(made, addresses...)
	if link.Attrs().Flags&net.FlagUp != 0 {
		return link, made, nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, nil, fmt.Errorf("set %s up: %w", b.name, err)
	}
	return link, append(made, b.name+" up"), nil
}

func addBridge(b bridge) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = b.name, b.mac
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, err
	}
	return netlink.LinkByName(b.name)
}

// ensureAddresses adds what is missing and removes nothing: the bridge plugin and
// moby put addresses of their own there.
func ensureAddresses(link netlink.Link, b bridge) ([]string, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", b.name, err)
	}
	var made []string
	for _, want := range b.addresses {
		addr := &netlink.Addr{IPNet: ipNet(want)}
		if slices.ContainsFunc(list, func(a netlink.Addr) bool { return a.Equal(*addr) }) {
			continue
		}
		if want.Addr().Is6() {
			// The address is ours alone on this bridge, and must be usable at once.
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(link, addr); err != nil {
			return nil, fmt.Errorf("add address %s to %s: %w", want, b.name, err)
		}
		made = append(made, "address "+want.String())
	}
	return made, nil
}

// ensurePorts puts interfaces back on a bridge that was made again: those that
// were on it before, are there still and have gone to no other.
func ensurePorts(link netlink.Link, ports []port) ([]string, error) {
	var made []string
	for _, p := range ports {
		l, err := netlink.LinkByIndex(p.index)
		if err != nil || l.Attrs().Name != p.name || l.Attrs().MasterIndex != 0 {
			continue
		}
		if err := netlink.LinkSetMaster(l, link); err != nil {
			return made, fmt.Errorf("put %s on %s: %w", p.name, link.Attrs().Name, err)
		}
		if p.hairpin {
			if err := netlink.LinkSetHairpin(l, true); err != nil {
				return made, fmt.Errorf("set hairpin of %s: %w", p.name, err)
			}
		}
		made = append(made, "port "+p.name)
	}
	return made, nil
}

// portsOf lists the interfaces on a bridge, to be put back when it is deleted.
func portsOf(sys string, links []netlink.Link, master int) []port {
	var ports []port
	for _, l := range links {
		if l.Attrs().MasterIndex != master {
			continue
		}
		name := l.Attrs().Name
		hairpin, err := os.ReadFile(filepath.Join(sys, "class/net", name, "brport/hairpin_mode"))
		ports = append(ports, port{
			index: l.Attrs().Index, name: name,
			hairpin: err == nil && strings.TrimSpace(string(hairpin)) == "1",
		})
	}
	return ports
}

// ensureRoutes adds the routes that are missing and removes those that carry our
// mark and are not wanted.
func ensureRoutes(wanted []route) ([]string, error) {
	have, err := ownRoutes()
	if err != nil {
		return nil, err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find lo: %w", err)
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(lo); err != nil {
			return nil, fmt.Errorf("set lo up: %w", err)
		}
	}
	var made []string
	for _, want := range wanted {
		r := want.netlink(lo.Attrs().Index)
		if slices.ContainsFunc(have, func(h netlink.Route) bool { return sameRoute(h, r) }) {
			continue
		}
		if err := netlink.RouteReplace(r); err != nil {
			return nil, fmt.Errorf("add route %s: %w", want, err)
		}
		made = append(made, "route "+want.String())
	}
	for _, h := range have {
		if slices.ContainsFunc(wanted, func(w route) bool { return sameRoute(h, w.netlink(lo.Attrs().Index)) }) {
			continue
		}
		if err := deleteRoute(h); err != nil {
			return nil, err
		}
	}
	return made, nil
}

func (r route) netlink(lo int) *netlink.Route {
	nr := &netlink.Route{Dst: ipNet(r.dst), Protocol: routeProtocol, Type: unix.RTN_BLACKHOLE}
	if r.source.IsValid() {
		nr.Type = unix.RTN_UNICAST
		nr.LinkIndex = lo
		nr.Scope = netlink.SCOPE_LINK
		nr.Src = r.source.AsSlice()
		if r.dst.Addr().Is6() {
			nr.Scope = netlink.SCOPE_UNIVERSE
		}
	}
	return nr
}

func sameRoute(have netlink.Route, want *netlink.Route) bool {
	return have.Dst != nil && have.Dst.String() == want.Dst.String() && have.Type == want.Type && have.Src.Equal(want.Src)
}

func ownRoutes() ([]netlink.Route, error) {
	routes, err := routesBy(netlink.FAMILY_ALL, routeProtocol)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

func routesBy(family int, protocol netlink.RouteProtocol) ([]netlink.Route, error) {
	return dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(family, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
	})
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

func deleteRoute(r netlink.Route) error {
	if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("delete route %s: %w", r.Dst, err)
	}
	return nil
}

// advertisedInterfaces are those with a default route from a router advertisement.
func advertisedInterfaces() []string {
	routes, err := routesBy(netlink.FAMILY_V6, unix.RTPROT_RA)
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range routes {
		if link, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
			names = append(names, link.Attrs().Name)
		}
	}
	return names
}

func removeBridge(name string) error {
	link, err := netlink.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	if errors.As(err, &notFound) || (err == nil && link.Type() != "bridge") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete bridge %s: %w", name, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
