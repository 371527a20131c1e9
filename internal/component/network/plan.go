package network

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// routeProtocol marks our routes, so that exactly they can be found and removed.
const routeProtocol = 66

// Options are the addresses decided at creation.
type Options struct {
	// PodBridge and DockerBridge are interface names; DockerBridge may be empty where Docker is off.
	PodBridge, DockerBridge string
	// NodeIPs are the node's addresses with the length of its own pod range, one per
	// family: 10.42.0.1/22, fd42:b0c5:42::1/64. See FirstNodeIPs.
	NodeIPs []netip.Prefix
	// PodCIDRs and ServiceCIDRs are the cluster's ranges, one per family of NodeIPs.
	PodCIDRs, ServiceCIDRs []netip.Prefix
	// LoadBalancerPools have the addresses of Services of type LoadBalancer: none, or one per
	// family of NodeIPs.
	LoadBalancerPools []netip.Prefix
	// DockerBridgeCIDR is the default Docker network: its range (the bridge takes the first
	// address) or the bridge's address with the length of the range.
	DockerBridgeCIDR netip.Prefix
	// DockerPool is where user-defined Docker networks take their ranges from. A host
	// firewall is told to let them pass. Optional.
	DockerPool netip.Prefix
	// Open are the ranges of Docker's networks that pods reach from the start. One that somebody has laid over those of
	// pods, Services or load balancers is left out.
	Open []netip.Prefix
	// NamesPort is where names are answered on the node's addresses: port 53 leads there. 0 leaves it out.
	NamesPort int
	// NFT is the path of nft; "" is the one in PATH.
	NFT string
	// NFTSocket is where processes of nft are lent (package nft). Optional.
	NFTSocket string
}

// FirstNodeIPs returns the addresses of a cluster's first node: the first
// address of the first /22, and of the first /64, of the pod ranges.
func FirstNodeIPs(podCIDRs []netip.Prefix) []netip.Prefix {
	ips := make([]netip.Prefix, 0, len(podCIDRs))
	for _, p := range podCIDRs {
		bits := 22
		if p.Addr().Is6() {
			bits = 64
		}
		ips = append(ips, netip.PrefixFrom(p.Masked().Addr().Next(), bits))
	}
	return ips
}

// plan is everything that must be there. It follows from Options alone.
type plan struct {
	bridges []bridge
	routes  []route
	sysctls []sysctl
	table   table
	passes  []pass
}

type bridge struct {
	name      string
	mac       net.HardwareAddr
	addresses []netip.Prefix
	sysctls   []sysctl // its own, set before it has addresses
}

type route struct {
	dst netip.Prefix
	// source is the address that a process on this machine gets when it connects to
	// dst, which is then routed to lo; an invalid source makes a blackhole.
	source netip.Addr
}

// sysctl is a path under /proc/sys and its value. One that is optional is left
// out where the kernel does not have it.
type sysctl struct {
	path, value string
	optional    bool
}

func newPlan(o Options) (plan, error) {
	if err := o.validate(); err != nil {
		return plan{}, err
	}
	p := plan{
		bridges: []bridge{newBridge(o.PodBridge, o.NodeIPs)},
		routes:  newRoutes(o),
		table:   newTable(o),
		passes:  newPasses(o),
	}
	if o.DockerBridge != "" {
		p.bridges = append(p.bridges, newBridge(o.DockerBridge, []netip.Prefix{firstAddress(o.DockerBridgeCIDR)}))
	}
	p.sysctls = newSysctls(o.hasIPv6())
	return p, nil
}

func (o Options) validate() error {
	if o.PodBridge == "" || len(o.NodeIPs) == 0 {
		return errors.New("network: a pod bridge and a node address are required")
	}
	if len(o.PodCIDRs) != len(o.NodeIPs) || len(o.ServiceCIDRs) != len(o.NodeIPs) {
		return errors.New("network: pod ranges, service ranges and node addresses must have the same families")
	}
	for i, ip := range o.NodeIPs {
		if !o.PodCIDRs[i].Contains(ip.Addr()) {
			return fmt.Errorf("network: node address %s is outside the pod range %s", ip.Addr(), o.PodCIDRs[i])
		}
		if o.ServiceCIDRs[i].Addr().Is4() != ip.Addr().Is4() {
			return fmt.Errorf("network: service range %s is not of the family of %s", o.ServiceCIDRs[i], ip.Addr())
		}
	}
	if len(o.LoadBalancerPools) > len(o.NodeIPs) {
		return errors.New("network: more pools of load balancer addresses than families")
	}
	for i, pool := range o.LoadBalancerPools {
		if pool.Addr().Is4() != o.NodeIPs[i].Addr().Is4() {
			return fmt.Errorf("network: pool %s is not of the family of %s", pool, o.NodeIPs[i].Addr())
		}
	}
	if o.DockerBridge != "" && !o.DockerBridgeCIDR.IsValid() {
		return fmt.Errorf("network: bridge %s has no range", o.DockerBridge)
	}
	return nil
}

func (o Options) hasIPv6() bool {
	for _, ip := range o.NodeIPs {
		if ip.Addr().Is6() {
			return true
		}
	}
	return false
}

func newBridge(name string, addresses []netip.Prefix) bridge {
	b := bridge{name: name, mac: stableMAC(name, addresses), addresses: addresses}
	b.sysctls = []sysctl{
		// Inherited from ip_forward, unless somebody set the default apart.
		{path: "net/ipv4/conf/" + name + "/forwarding", value: "1"},
		// A pod must not become the host's router by sending advertisements.
		{path: "net/ipv6/conf/" + name + "/accept_ra", value: "0", optional: true},
	}
	if b.hasIPv6() {
		b.sysctls = append(b.sysctls,
			sysctl{path: "net/ipv6/conf/" + name + "/disable_ipv6", value: "0"},
			sysctl{path: "net/ipv6/conf/" + name + "/forwarding", value: "1"},
		)
	}
	return b
}

// stableMAC is locally administered and the same whenever the bridge is made
// again: pods keep the neighbour entry of their gateway. A bridge without one
// takes the lowest of its ports', which changes as pods come and go.
func stableMAC(name string, addresses []netip.Prefix) net.HardwareAddr {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %v", name, addresses))
	return net.HardwareAddr{0x02, 0xb0, sum[0], sum[1], sum[2], sum[3]}
}

func firstAddress(p netip.Prefix) netip.Prefix {
	if p == p.Masked() {
		return netip.PrefixFrom(p.Addr().Next(), p.Bits())
	}
	return p
}

// newRoutes keeps what is meant for the cluster on this machine: a pod range
// without its pod ends in a blackhole, and the service range and the load
// balancers' pool lead to lo, because connect() looks for a route before nft
// rewrites the address.
func newRoutes(o Options) []route {
	var routes []route
	for i, ip := range o.NodeIPs {
		routes = append(routes,
			route{dst: o.PodCIDRs[i]},
			route{dst: o.ServiceCIDRs[i], source: ip.Addr()},
		)
		if i < len(o.LoadBalancerPools) {
			routes = append(routes, route{dst: o.LoadBalancerPools[i], source: ip.Addr()})
		}
	}
	return routes
}

func newSysctls(ipv6 bool) []sysctl {
	all := []sysctl{
		{path: "net/ipv4/ip_forward", value: "1"},
		// Replies between two pods on the bridge must pass the NAT that their requests passed.
		{path: "net/bridge/bridge-nf-call-iptables", value: "1", optional: true},
	}
	if ipv6 {
		all = append(all,
			sysctl{path: "net/ipv6/conf/all/forwarding", value: "1"},
			sysctl{path: "net/bridge/bridge-nf-call-ip6tables", value: "1", optional: true},
		)
	}
	return all
}

func (b bridge) hasIPv6() bool {
	for _, a := range b.addresses {
		if a.Addr().Is6() {
			return true
		}
	}
	return false
}

// String is the plan as the ip and sysctl commands would say it; tests compare it.
func (p plan) String() string {
	var s strings.Builder
	for _, b := range p.bridges {
		fmt.Fprintf(&s, "link add %s address %s type bridge\n", b.name, b.mac)
		for _, c := range b.sysctls {
			fmt.Fprintf(&s, "sysctl %s=%s\n", c.path, c.value)
		}
		for _, a := range b.addresses {
			fmt.Fprintf(&s, "addr add %s dev %s\n", a, b.name)
		}
	}
	for _, r := range p.routes {
		fmt.Fprintf(&s, "route add %s\n", r)
	}
	for _, c := range p.sysctls {
		fmt.Fprintf(&s, "sysctl %s=%s\n", c.path, c.value)
	}
	return s.String()
}

func (r route) String() string {
	if !r.source.IsValid() {
		return "blackhole " + r.dst.String()
	}
	return fmt.Sprintf("%s dev lo src %s", r.dst, r.source)
}
