package daemon

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/boxyard/boxyard/internal/component/network"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/host"
)

// ranges are the addresses of the state, parsed. All have the same families, IPv4 first.
type ranges struct {
	pods, services []netip.Prefix
	nodes          []netip.Prefix // the node's address with the length of its own pod range
	docker, pool   netip.Prefix
	balancers      []netip.Prefix // pools of load balancer addresses; none where Services have the node's
}

func (s State) ranges() (ranges, error) {
	var r ranges
	var errs []error
	parse := func(text string) netip.Prefix {
		p, err := netip.ParsePrefix(text)
		errs = append(errs, err)
		return p
	}
	for i, text := range s.PodCIDRs {
		r.pods = append(r.pods, parse(text))
		r.services = append(r.services, parse(nth(s.ServiceCIDRs, i)))
	}
	r.docker, r.pool = parse(s.DockerCIDR), parse(s.DockerPool)
	for _, text := range s.LoadBalancerPools {
		r.balancers = append(r.balancers, parse(text))
	}
	if err := errors.Join(errs...); err != nil || len(r.pods) == 0 {
		return r, &fault.Error{
			Code: "state-corrupt", Summary: "state.json has ranges that cannot be read",
			Hint: "restore it from a backup, or start afresh: boxyard reset", Cause: err,
		}
	}
	r.nodes = network.FirstNodeIPs(r.pods)
	return r, nil
}

// pickRanges makes a default range that a network of the host has give way, and says so.
func (d *daemon) pickRanges(c config.Config, facts host.Facts) (config.Config, error) {
	picked, faults := host.PickRanges(facts.Routes, c, d.o.Chosen)
	if len(faults) > 0 {
		return c, joinFaults(faults)
	}
	for _, moved := range movedRanges(c, picked, facts.Routes) {
		d.note(moved)
	}
	return picked, nil
}

// pickPools does the same for the pools of load balancer addresses alone, where an older Boxyard
// has made the data. What overlaps otherwise is for preflight to report.
func (d *daemon) pickPools(c config.Config, facts host.Facts) config.Config {
	const pool, pool6 = "network.loadBalancerPool", "network.loadBalancerPool6"
	fixed := map[string]bool{pool: d.o.Chosen[pool], pool6: d.o.Chosen[pool6]}
	for _, key := range []string{"podCIDR", "serviceCIDR", "podCIDR6", "serviceCIDR6", "dockerCIDR", "dockerPool"} {
		fixed["network."+key] = true
	}
	picked, _ := host.PickRanges(facts.Routes, c, fixed)
	for _, moved := range movedRanges(c, picked, facts.Routes) {
		d.note(moved)
	}
	return picked
}

func movedRanges(was, is config.Config, routes []host.Route) []string {
	var moved []string
	for _, r := range []struct{ what, was, is string }{
		{"pods", was.Network.PodCIDR, is.Network.PodCIDR},
		{"Services", was.Network.ServiceCIDR, is.Network.ServiceCIDR},
		{"pods (IPv6)", was.Network.PodCIDR6, is.Network.PodCIDR6},
		{"Services (IPv6)", was.Network.ServiceCIDR6, is.Network.ServiceCIDR6},
		{"Docker's default network", was.Network.DockerCIDR, is.Network.DockerCIDR},
		{"Docker's networks", was.Network.DockerPool, is.Network.DockerPool},
		{"load balancers", was.Network.LoadBalancerPool, is.Network.LoadBalancerPool},
		{"load balancers (IPv6)", was.Network.LoadBalancerPool6, is.Network.LoadBalancerPool6},
	} {
		if r.was == r.is {
			continue
		}
		moved = append(moved, fmt.Sprintf("%s have %s, because %s is taken%s", r.what, r.is, r.was, takenBy(r.was, routes)))
	}
	return moved
}

// takenBy names the host's network that overlaps, where it is not one of our own ranges that moved there.
func takenBy(cidr string, routes []host.Route) string {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return ""
	}
	for _, r := range routes {
		if r.Dst.Bits() > 1 && r.Dst.Overlaps(p) {
			return " by " + r.String()
		}
	}
	return ""
}
