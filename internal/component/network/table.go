package network

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The table that is ours alone. Nobody else's rules are in it.
const (
	tableFamily = "inet"
	tableName   = "boxyard"
)

// These tables, of the family inet, are made by the cluster process: cluster/nodeport
// and cluster/networkpolicy. They are named here because they are ours, and go with
// a reset.
const (
	NodePortTable = "boxyard-nodeports"
	PolicyTable   = "boxyard-policy"
)

// PodMark is the bit that our table sets in the mark of packets which pods send to containers. It is none of
// kube-proxy's (0x4000, 0x8000), and set after the routing decision, so that rules of routing do not see it.
const PodMark = 0x100000

// table is our nft table. Each rule has a comment of its own, by which a rule
// that was removed by hand is missed.
type table struct {
	chains []tableChain
}

type tableChain struct {
	name, kind string
	rules      []tableRule
}

type tableRule struct{ statement, comment string }

func newTable(o Options) table {
	// dockerd, and the CNI plugin portmap, make the kernel route packets for 127.0.0.1 on their
	// bridges (route_localnet). Nothing outside of this host may reach its loopback that way. What
	// is translated back to a loopback address is so later than here.
	prerouting := tableChain{name: "prerouting", kind: "type filter hook prerouting priority -300; policy accept;", rules: []tableRule{
		{`iifname != "lo" ip daddr 127.0.0.0/8 drop`, "loopback is not for others"},
		{`iifname != "lo" ip saddr 127.0.0.0/8 drop`, "loopback is not on the wire"},
	}}
	postrouting := tableChain{name: "postrouting", kind: "type nat hook postrouting priority 100; policy accept;"}
	shift, unshift, mark := openChains(o)
	names := tableChain{name: "names", kind: "type nat hook prerouting priority -100; policy accept;"}
	namesHere := tableChain{name: "names-output", kind: "type nat hook output priority -100; policy accept;"}
	if o.NamesPort != 0 {
		for _, node := range o.NodeIPs {
			at := netip.AddrPortFrom(node.Addr(), uint16(o.NamesPort))
			for _, protocol := range []string{"udp", "tcp"} {
				family := ipFamily(node)
				rule := tableRule{
					fmt.Sprintf("%s daddr %s %s dport 53 dnat %s to %s", family, node.Addr(), protocol, family, at),
					fmt.Sprintf("names (%s, %s)", family, protocol),
				}
				names.rules = append(names.rules, rule)
				namesHere.rules = append(namesHere.rules, rule)
			}
		}
	}
	// After every filter at the usual priority: kube-proxy, which rejects what has no
	// endpoint, has spoken by then, and rewritten what it serves.
	forward := tableChain{name: "forward", kind: "type filter hook forward priority 10; policy accept;"}
	output := tableChain{name: "output", kind: "type filter hook output priority 10; policy accept;"}
	for i, pods := range o.PodCIDRs {
		services, family, multicast := o.ServiceCIDRs[i], ipFamily(pods), "224.0.0.0/4"
		if family == "ip6" {
			multicast = "ff00::/8"
		}
		postrouting.rules = append(postrouting.rules, tableRule{
			fmt.Sprintf(`%s saddr %s %s daddr != { %s, %s, %s } oifname != { "lo", %q } masquerade fully-random`,
				family, pods, family, pods, services, multicast, o.PodBridge),
			"pods leave under the host's address (" + family + ")",
		})
		// What is not served yet is dropped and not answered: a dropped packet leaves no
		// connection tracking entry behind, so the sender's next try is rewritten as soon
		// as kube-proxy knows the Service.
		unserved := tableRule{fmt.Sprintf("%s daddr %s drop", family, services), "no such service (" + family + ")"}
		forward.rules = append(forward.rules, unserved)
		output.rules = append(output.rules, unserved)
		if i < len(o.LoadBalancerPools) {
			unclaimed := tableRule{fmt.Sprintf("%s daddr %s drop", family, o.LoadBalancerPools[i]), "no such load balancer (" + family + ")"}
			forward.rules = append(forward.rules, unclaimed)
			output.rules = append(output.rules, unclaimed)
		}
	}
	return table{chains: []tableChain{shift, prerouting, unshift, mark, names, namesHere, postrouting, forward, output}}
}

// openChains let pods reach containers in the open ranges. In its chain at the priority raw, moby drops what comes to a
// container's address from another interface than its network's, and a drop is final. So the address is another one
// while that chain looks: its first bits are turned over just before, and back just after. Nothing has routed or tracked
// the packet by then. Later, in its forward chain, moby accepts what has the mark (bridge-accept-fwmark in daemon.json).
func openChains(o Options) (shift, unshift, mark tableChain) {
	shift = tableChain{name: "past-moby", kind: "type filter hook prerouting priority -301; policy accept;"}
	unshift = tableChain{name: "back-from-past-moby", kind: "type filter hook prerouting priority -299; policy accept;"}
	mark = tableChain{name: "from-pods", kind: "type filter hook forward priority -150; policy accept;"}
	cluster := slices.Concat(o.PodCIDRs, o.ServiceCIDRs, o.LoadBalancerPools)
	for _, zero := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		family := ipFamily(netip.PrefixFrom(zero, 0))
		var here, there []string
		for _, p := range o.Open {
			if ipFamily(p) == family && !slices.ContainsFunc(cluster, p.Overlaps) {
				p = p.Masked()
				here, there = append(here, p.String()), append(there, netip.PrefixFrom(flip(p.Addr()), p.Bits()).String())
			}
		}
		if len(here) == 0 {
			continue
		}
		rule := func(ranges []string, then, comment string) tableRule {
			return tableRule{
				fmt.Sprintf("iifname %q %s daddr { %s } %s", o.PodBridge, family, strings.Join(ranges, ", "), then),
				// nft takes 128 bytes, and there may be hundreds of networks.
				fmt.Sprintf("%s (%s, %.4x)", comment, family, sha256.Sum256([]byte(strings.Join(here, " ")))),
			}
		}
		turn := fmt.Sprintf("%s daddr set %s daddr ^ %s", family, family, flip(zero))
		shift.rules = append(shift.rules, rule(here, turn, "open to pods"))
		unshift.rules = append(unshift.rules, rule(there, turn, "and back"))
		mark.rules = append(mark.rules, rule(here, fmt.Sprintf("meta mark set meta mark | %#x", PodMark), "from a pod"))
	}
	return shift, unshift, mark
}

// flip turns over the first four bits of an address.
func flip(a netip.Addr) netip.Addr {
	b := a.AsSlice()
	b[0] ^= 0xf0
	flipped, _ := netip.AddrFromSlice(b) // of the length that it had
	return flipped
}

func ipFamily(p netip.Prefix) string {
	if p.Addr().Is6() {
		return "ip6"
	}
	return "ip"
}

// script replaces the table in one transaction: at no moment is there none.
// Adding it first makes deleting it valid when it is not there.
func (t table) script() string {
	var s strings.Builder
	fmt.Fprintf(&s, "add table %s %s\ndelete table %s %s\n", tableFamily, tableName, tableFamily, tableName)
	fmt.Fprintf(&s, "table %s %s {\n", tableFamily, tableName)
	for _, c := range t.chains {
		fmt.Fprintf(&s, "\tchain %s {\n\t\t%s\n", c.name, c.kind)
		for _, r := range c.rules {
			fmt.Fprintf(&s, "\t\t%s comment %q\n", r.statement, r.comment)
		}
		s.WriteString("\t}\n")
	}
	s.WriteString("}\n")
	return s.String()
}

// removal is the script that takes the table away, there or not.
func (t table) removal() string {
	return fmt.Sprintf("add table %s %s\ndelete table %s %s\n", tableFamily, tableName, tableFamily, tableName)
}

// intact tells whether every chain and rule of the table is in the ruleset.
func (t table) intact(rs ruleset) bool {
	for _, want := range t.chains {
		c, ok := rs.find(chainKey{tableFamily, tableName, want.name})
		if !ok || c.hook == "" || len(c.rules) != len(want.rules) {
			return false
		}
		for i, r := range want.rules {
			if c.rules[i].comment != r.comment {
				return false
			}
		}
	}
	return true
}
