package networkpolicy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	tableName = "boxyard-policy"
	maxPort   = 65535
)

// family is one of the two of IP, in nft's words.
type family struct{ name, address, digit string }

func ipv4() family { return family{name: "ip", address: "ipv4_addr", digit: "4"} }
func ipv6() family { return family{name: "ip6", address: "ipv6_addr", digit: "6"} }

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return ipv4()
	}
	return ipv6()
}

// direction is the side of a connection that a rule is about.
type direction string

const (
	ingress direction = "ingress"
	egress  direction = "egress"
)

// ruleset is the content of the table, apart from its base chains.
type ruleset struct {
	sets map[string]*set
	// verdicts are the maps from a pod's address to the chain of its rules: ingress4, ingress6, egress4, egress6.
	verdicts map[string]map[string]string
	chains   map[string]*chain
}

// set is a named set. The elements of an interval set never change: its name follows from them.
type set struct {
	kind     string
	interval bool
	comment  string
	elements map[string]struct{} // parts of a concatenation are joined by " . "
}

// chain holds the rules of the pods that are selected by the same policies, in one direction: a packet that
// one of them matches returns, and others are dropped at the end.
type chain struct {
	comment string
	rules   []match
}

// match is what a rule allows. Its zero value allows everything.
type match struct {
	direction direction
	family    family
	// peers is a set of the addresses at the other end; address is a single one. Both empty is any.
	peers   string
	address netip.Addr
	// protocol is empty for any, ports for all of the protocol's.
	protocol corev1.Protocol
	ports    []portRange
	// named is a set of pairs of an address of a destination and its port.
	named  string
	policy string // for the reader of the table
}

type portRange struct{ from, to uint16 }

func newRuleset() *ruleset {
	return &ruleset{sets: map[string]*set{}, verdicts: map[string]map[string]string{}, chains: map[string]*chain{}}
}

// String is the rule as nft reads it.
func (m match) String() string {
	var parts []string
	far := m.family.name + " saddr"
	if m.direction == egress {
		far = m.family.name + " daddr"
	}
	switch {
	case m.peers != "":
		parts = append(parts, far, "@"+m.peers)
	case m.address.IsValid():
		parts = append(parts, far, m.address.String())
	}
	protocol := strings.ToLower(string(m.protocol))
	switch {
	case m.named != "":
		parts = append(parts, m.family.name, "daddr .", protocol, "dport", "@"+m.named)
	case len(m.ports) > 0:
		parts = append(parts, protocol, "dport", "{", joinPorts(m.ports), "}")
	case protocol != "":
		parts = append(parts, "meta l4proto", protocol)
	}
	return strings.Join(append(parts, "return"), " ")
}

func joinPorts(ports []portRange) string {
	texts := make([]string, len(ports))
	for i, p := range ports {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

func (p portRange) String() string {
	if p.from == p.to {
		return strconv.Itoa(int(p.from))
	}
	return fmt.Sprintf("%d-%d", p.from, p.to)
}

func (p portRange) contains(port uint16) bool { return p.from <= port && port <= p.to }

// joinRanges merges what overlaps or touches, which nft refuses in one set.
func joinRanges(ports []portRange) []portRange {
	slices.SortFunc(ports, func(a, b portRange) int { return int(a.from) - int(b.from) })
	var joined []portRange
	for _, p := range ports {
		if n := len(joined) - 1; n >= 0 && int(p.from) <= int(joined[n].to)+1 {
			joined[n].to = max(joined[n].to, p.to)
			continue
		}
		joined = append(joined, p)
	}
	return joined
}

func (m match) equal(o match) bool {
	ports := slices.Equal(m.ports, o.ports)
	m.ports, o.ports = nil, nil
	return ports && m.direction == o.direction && m.family == o.family && m.peers == o.peers && m.address == o.address &&
		m.protocol == o.protocol && m.named == o.named && m.policy == o.policy
}

func (c *chain) equal(o *chain) bool {
	return c.comment == o.comment && slices.EqualFunc(c.rules, o.rules, match.equal)
}
