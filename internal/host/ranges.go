package host

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
)

// namedRange is a range of the configuration, for reading and changing it.
type namedRange struct {
	key   string
	value *string
}

func rangesOf(n *config.Network) []namedRange {
	list := []namedRange{
		{"network.podCIDR", &n.PodCIDR},
		{"network.serviceCIDR", &n.ServiceCIDR},
		{"network.podCIDR6", &n.PodCIDR6},
		{"network.serviceCIDR6", &n.ServiceCIDR6},
		{"network.dockerCIDR", &n.DockerCIDR},
		{"network.dockerPool", &n.DockerPool},
	}
	if !n.HasLoadBalancerPool() {
		return list
	}
	return append(list, namedRange{"network.loadBalancerPool", &n.LoadBalancerPool}, namedRange{"network.loadBalancerPool6", &n.LoadBalancerPool6})
}

// usedRange is a range with its value parsed.
type usedRange struct {
	key    string
	prefix netip.Prefix
}

// usedRanges are those that this configuration uses on this host.
func usedRanges(f Facts, c config.Config) []usedRange {
	ipv6 := c.Network.IPv6 == "on" || (c.Network.IPv6 == "auto" && f.IPv6)
	var list []usedRange
	for _, r := range rangesOf(&c.Network) {
		if p, err := netip.ParsePrefix(*r.value); err == nil && (ipv6 || p.Addr().Is4()) {
			list = append(list, usedRange{r.key, p})
		}
	}
	return list
}

// PickRanges returns the configuration with ranges that overlap no route of the
// host and not each other: a default that does gives way to a free range of its
// size. A range that the user set (its key is in userSet; see config.Keys) is kept, and
// reported where it overlaps. The configuration is a valid one. This is for the
// creation of a data directory; later the ranges stay what they are.
func PickRanges(routes []Route, c config.Config, userSet map[string]bool) (config.Config, []*fault.Error) {
	before := c.Network
	p := picker{taken: func(p netip.Prefix) (Route, bool) { return overlapping(routes, p, before) }}
	var moved []namedRange
	// What the user set first, then the defaults that can stay: no replacement may
	// take the place of either.
	for _, set := range []bool{true, false} {
		for _, r := range rangesOf(&c.Network) {
			if userSet[r.key] == set && !p.keep(r, set) {
				moved = append(moved, r)
			}
		}
	}
	for _, r := range moved {
		p.move(r)
	}
	return c, p.faults
}

type picker struct {
	taken  func(netip.Prefix) (Route, bool)
	chosen []netip.Prefix
	faults []*fault.Error
}

func (p *picker) free(candidate netip.Prefix) bool {
	_, taken := p.taken(candidate)
	return !taken && !slices.ContainsFunc(p.chosen, candidate.Overlaps)
}

// keep takes a range as it is, and tells whether it could: one that the user set
// is never moved.
func (p *picker) keep(r namedRange, userSet bool) bool {
	prefix, err := netip.ParsePrefix(*r.value)
	if err != nil {
		p.faults = append(p.faults, &fault.Error{
			Code: config.CodeInvalid, Summary: fmt.Sprintf("%s is %q", r.key, *r.value), Exit: fault.ExitUsage, Cause: err,
		})
		return true
	}
	if !userSet && !p.free(prefix) {
		return false
	}
	if route, taken := p.taken(prefix); taken {
		p.faults = append(p.faults, overlapFault(r.key, prefix, route, candidates(prefix), p.free))
	}
	p.chosen = append(p.chosen, prefix)
	return true
}

func (p *picker) move(r namedRange) {
	from := netip.MustParsePrefix(*r.value)
	list := candidates(from)
	i := slices.IndexFunc(list, p.free)
	if i < 0 {
		p.faults = append(p.faults, noFreeRange(r.key, from))
		return
	}
	p.chosen = append(p.chosen, list[i])
	*r.value = list[i].String()
}

func overlapping(routes []Route, p netip.Prefix, n config.Network) (Route, bool) {
	i := slices.IndexFunc(routes, func(r Route) bool { return r.Dst.Overlaps(p) && r.foreign(n) })
	if i < 0 {
		return Route{}, false
	}
	return routes[i], true
}

// candidates are ranges of p's size in the private address space, p's own
// neighbours first.
func candidates(p netip.Prefix) []netip.Prefix {
	if p.Addr().Is6() {
		return candidates6(p)
	}
	var list []netip.Prefix
	add := func(a, b byte, within int) {
		if p.Bits() >= within {
			list = append(list, netip.PrefixFrom(netip.AddrFrom4([4]byte{a, b}), p.Bits()).Masked())
		}
	}
	start := byte(42)
	if raw := p.Addr().As4(); raw[0] == 10 {
		start = raw[1]
	}
	for i := range 256 {
		add(10, start+byte(i), 8)
	}
	// 172.16/12 from its end, since Docker takes it from its start; then the carriers' 100.64/10.
	for i := range 16 {
		add(172, byte(31-i), 12)
	}
	for i := range 64 {
		add(100, byte(127-i), 10)
	}
	return list
}

func candidates6(p netip.Prefix) []netip.Prefix {
	raw := p.Addr().As16()
	if raw[0] != 0xfd {
		raw = [16]byte{0xfd, 0x42, 0xb0, 0xc5}
	}
	var list []netip.Prefix
	for range 256 {
		list = append(list, netip.PrefixFrom(netip.AddrFrom16(raw), p.Bits()).Masked())
		raw[4]++ // fd42:b0c5:XX42::
	}
	return list
}

func overlapFault(key string, p netip.Prefix, route Route, others []netip.Prefix, free func(netip.Prefix) bool) *fault.Error {
	f := &fault.Error{
		Code:    "range-overlap",
		Summary: fmt.Sprintf("%s %s overlaps a network of this host: %s", key, p, route),
		Hint:    "set " + key + " to a range that is free",
	}
	if i := slices.IndexFunc(others, free); i >= 0 {
		f.Hint = fmt.Sprintf("set %s to a range that is free, such as %s", key, others[i])
	}
	return f
}

func noFreeRange(key string, p netip.Prefix) *fault.Error {
	return &fault.Error{
		Code:    "no-free-range",
		Summary: fmt.Sprintf("no range like %s is free: networks of this host cover all of them", p),
		Hint:    "set " + key + " to a range that is free",
	}
}
