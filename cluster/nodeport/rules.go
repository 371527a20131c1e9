package nodeport

import (
	"net/netip"
	"strconv"
	"strings"

	"sigs.k8s.io/knftables"

	corev1 "k8s.io/api/core/v1"
)

// Table is our nft table, of the family inet. The daemon removes it on a reset, under the same name
// (internal/component/network).
const Table = "boxyard-nodeports"

const portsSet = "ports"

// port is a node port of a Service.
type port struct {
	protocol corev1.Protocol
	number   int32
}

// Options are the addresses of this node.
type Options struct {
	// NodeIPs are the node's own addresses, at most one of each family, on which kube-proxy serves node ports.
	NodeIPs []netip.Addr
	// PodCIDRs are the pods' ranges, of the same families.
	PodCIDRs []netip.Prefix
}

// dialect is what differs between the families.
type dialect struct {
	ip, loopback, sources, node, pods string
}

func (o Options) dialects() []dialect {
	var list []dialect
	for i, a := range o.NodeIPs {
		if i >= len(o.PodCIDRs) {
			break
		}
		d := dialect{ip: "ip", loopback: "127.0.0.1", sources: "127.0.0.0/8", node: a.String(), pods: o.PodCIDRs[i].String()}
		if a.Is6() {
			d.ip, d.loopback, d.sources = "ip6", "::1", "::1"
		}
		list = append(list, d)
	}
	return list
}

// chain has a hook, or is jumped to.
type chain struct {
	name     string
	kind     knftables.BaseChainType
	hook     knftables.BaseChainHook
	priority knftables.BaseChainPriority
	rules    []string
}

// chains are the rules of every family. A connection is tracked under the address that the client
// dialed, 127.0.0.1, so that it cannot be mistaken for one to the node's address from the same port;
// only what the packets say changes on the way.
func (o Options) chains() []chain {
	before := chain{name: "output-before-dnat", kind: knftables.RouteType, hook: knftables.OutputHook, priority: "mangle"}
	after := chain{name: "output-after-dnat", kind: knftables.RouteType, hook: knftables.OutputHook, priority: "dstnat+10"}
	back := chain{name: "prerouting-reply", kind: knftables.FilterType, hook: knftables.PreroutingHook, priority: "dstnat+10"}
	in := chain{name: "input-reply", kind: knftables.FilterType, hook: knftables.InputHook, priority: "srcnat+10"}
	var regular []chain
	for _, d := range o.dialects() {
		to, from := "to-node-"+d.ip, "rewrite-"+d.ip
		rule := func(format string) string {
			return strings.NewReplacer("$ip", d.ip, "$loopback", d.loopback, "$sources", d.sources, "$node", d.node, "$pods", d.pods,
				"$rewrite", from, "$to", to, "$ports", "@"+portsSet).Replace(format)
		}
		regular = append(regular,
			chain{name: from, rules: []string{
				rule("$ip saddr $sources $ip saddr set $node"),
				rule("$ip daddr set $node"),
			}},
			chain{name: to, rules: []string{
				// A new connection; one that kube-proxy has translated; and one of those whose Service is gone.
				rule("ct state new meta l4proto . th dport $ports goto $rewrite"),
				rule("ct status dnat meta l4proto . th dport $ports goto $rewrite"),
				rule("ct status dnat ct reply $ip saddr $pods goto $rewrite"),
			}},
		)
		// On its way to kube-proxy's rules the packet is one from the node to the node. Answers of
		// programs that listen here are not touched: they go in the other direction.
		before.rules = append(before.rules, rule("$ip daddr $loopback ct direction original jump $to"))
		// What kube-proxy did not translate goes where it was sent: it is refused, or a program's.
		after.rules = append(after.rules,
			rule("$ip daddr $node ct direction original ct original $ip daddr $loopback ct status & dnat == 0 $ip daddr set $loopback $ip saddr set ct original $ip saddr"))
		// The answer comes from outside, where the kernel takes no packet for 127.0.0.1. By now it has
		// the client's address again; until it has been routed it bears the node's.
		back.rules = append(back.rules,
			rule(`iifname != "lo" $ip daddr $sources ct direction reply ct original $ip daddr $loopback $ip daddr set $node`))
		in.rules = append(in.rules,
			rule(`iifname != "lo" $ip daddr $node ct direction reply ct original $ip daddr $loopback $ip daddr set ct original $ip saddr`))
	}
	return append(regular, before, after, back, in)
}

// rules is how many rules the whole table has.
func (o Options) rules() int {
	n := 0
	for _, c := range o.chains() {
		n += len(c.rules)
	}
	return n
}

// replace makes the table anew, in one transaction: at no moment is there none.
func (o Options) replace(tx *knftables.Transaction, ports []port) {
	remove(tx)
	tx.Add(&knftables.Table{Comment: new("node ports on loopback addresses")})
	tx.Add(&knftables.Set{Name: portsSet, Type: "inet_proto . inet_service", Comment: new("the node ports of Services")})
	fill(tx, ports)
	for _, c := range o.chains() {
		base := &knftables.Chain{Name: c.name}
		if c.hook != "" {
			base.Type, base.Hook, base.Priority = &c.kind, &c.hook, &c.priority
		}
		tx.Add(base)
		for _, r := range c.rules {
			tx.Add(&knftables.Rule{Chain: c.name, Rule: r})
		}
	}
}

// update changes the ports of the table that is there.
func update(tx *knftables.Transaction, ports []port) {
	tx.Flush(&knftables.Set{Name: portsSet})
	fill(tx, ports)
}

func fill(tx *knftables.Transaction, ports []port) {
	for _, p := range ports {
		tx.Add(&knftables.Element{Set: portsSet, Key: []string{strings.ToLower(string(p.protocol)), strconv.Itoa(int(p.number))}})
	}
}

// remove is valid where there is no table, since it adds one first.
func remove(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
}
