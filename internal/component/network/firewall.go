package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// passMark begins the comment of every rule that we put into a chain of others.
const passMark = "boxyard "

// pass lets our traffic through a chain of the host's firewall. In nft a drop in
// any chain is final, so accepting in our own table would not help.
type pass struct {
	hook    string
	match   string // free of sets and connection tracking: iptables-nft must be able to read its own chains afterwards
	family  string // "" for both
	comment string
}

func newPasses(o Options) []pass {
	passes := []pass{
		{hook: "forward", match: fmt.Sprintf("iifname %q", o.PodBridge), comment: passMark + "from " + o.PodBridge},
		{hook: "forward", match: fmt.Sprintf("oifname %q", o.PodBridge), comment: passMark + "to " + o.PodBridge},
		{hook: "input", match: fmt.Sprintf("iifname %q", o.PodBridge), comment: passMark + "from " + o.PodBridge},
		{hook: "output", match: fmt.Sprintf("oifname %q", o.PodBridge), comment: passMark + "to " + o.PodBridge},
	}
	if o.DockerBridge != "" {
		passes = append(passes, dockerPasses(o, o.DockerBridge, netip.Prefix{})...)
		if o.DockerPool.IsValid() {
			// moby calls the bridges of user-defined networks br-ID. So may others call
			// theirs: only our range passes.
			passes = append(passes, dockerPasses(o, "br-*", o.DockerPool)...)
		}
	}
	return passes
}

// dockerPasses lets containers be forwarded, and reach the node's addresses
// (names are answered there), but no more of the host than its firewall allows.
func dockerPasses(o Options, device string, only netip.Prefix) []pass {
	from, to, family := fmt.Sprintf("iifname %q", device), fmt.Sprintf("oifname %q", device), ""
	if only.IsValid() {
		family = ipFamily(only)
		from += fmt.Sprintf(" %s saddr %s", family, only)
		to += fmt.Sprintf(" %s daddr %s", family, only)
	}
	passes := []pass{
		{hook: "forward", match: from, family: family, comment: passMark + "from " + device},
		{hook: "forward", match: to, family: family, comment: passMark + "to " + device},
		{hook: "output", match: to, family: family, comment: passMark + "to " + device},
	}
	for _, ip := range o.NodeIPs {
		if f := ipFamily(ip); family == "" || family == f {
			passes = append(passes, pass{
				hook: "input", family: f, comment: passMark + "from " + device + " to the node (" + f + ")",
				match: fmt.Sprintf("%s %s daddr %s", from, f, ip.Addr()),
			})
		}
	}
	return passes
}

// guards tells whether c is a chain of somebody's firewall that may need passes.
func (c *chain) guards() bool {
	return c.kind == "filter" &&
		slices.Contains([]string{"forward", "input", "output"}, c.hook) &&
		slices.Contains([]string{"ip", "ip6", "inet"}, c.family) &&
		!isOwnTable(c.table)
}

// isOwnTable names the tables of Boxyard and its parts, whose drops are meant.
func isOwnTable(name string) bool {
	return slices.Contains([]string{tableName, NodePortTable, PolicyTable, "kube-proxy", "docker-bridges"}, name)
}

// guardTables lists the tables that have such a chain, for one look at their rules.
func (rs ruleset) guardTables() []chainKey {
	var tables []chainKey
	for _, c := range rs.chains {
		key := chainKey{family: c.family, table: c.table}
		if c.guards() && !slices.Contains(tables, key) {
			tables = append(tables, key)
		}
	}
	return tables
}

// missingPasses returns, for each chain that would drop our traffic, the script
// that inserts what it lacks. One script per chain: a table that refuses (firewalld
// may own its table) must not keep the others from being changed.
func missingPasses(rs ruleset, passes []pass) map[chainKey]string {
	scripts := map[chainKey]string{}
	for _, c := range rs.chains {
		if !c.guards() || !rs.drops(c, 0) {
			continue
		}
		// Inserted at the top one after the other, so the last comes first.
		for _, p := range slices.Backward(passes) {
			if p.hook == c.hook && p.fits(c.family) && !c.hasComment(p.comment) {
				scripts[c.chainKey] += fmt.Sprintf("insert rule %s %s %s %s counter accept comment %q\n",
					c.family, c.table, c.name, p.match, p.comment)
			}
		}
	}
	return scripts
}

func (p pass) fits(family string) bool {
	return p.family == "" || family == "inet" || family == p.family
}

func (c *chain) hasComment(comment string) bool {
	return slices.ContainsFunc(c.rules, func(r rule) bool { return r.comment == comment })
}

// removePasses is the script that deletes every rule that we put into others' chains.
func removePasses(rs ruleset) string {
	var s strings.Builder
	for _, c := range rs.chains {
		if isOwnTable(c.table) {
			continue
		}
		for _, r := range c.rules {
			if strings.HasPrefix(r.comment, passMark) {
				fmt.Fprintf(&s, "delete rule %s %s %s handle %d\n", c.family, c.table, c.name, r.handle)
			}
		}
	}
	return s.String()
}

// listTables is the script that lists these tables.
func listTables(tables []chainKey) string {
	var s strings.Builder
	for _, t := range tables {
		fmt.Fprintf(&s, "list table %s %s\n", t.family, t.table)
	}
	return s.String()
}
