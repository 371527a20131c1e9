package networkpolicy

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

const commentLimit = knftables.CommentLengthMax

// after is the priority of our chains: after kube-proxy's filters, which answer at once for a Service that has no endpoints.
const after = knftables.FilterPriority + "+5"

// replace writes the whole table anew. In one transaction: no packet meets half of it, or none.
func replace(tx *knftables.Transaction, n node, want *ruleset) {
	remove(tx)
	tx.Add(&knftables.Table{Comment: new("NetworkPolicies, by Boxyard")})
	for _, f := range bothFamilies() {
		tx.Add(newSet("self"+f.digit, &set{kind: f.address + " . " + f.address, comment: "pods and themselves"}))
		for _, d := range []direction{ingress, egress} {
			tx.Add(&knftables.Map{Name: string(d) + f.digit, Type: f.address + " : verdict"})
		}
	}
	base(tx, n)
	change(tx, newRuleset(), want)
}

// remove takes the table away, there or not.
func remove(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
}

func bothFamilies() []family { return []family{ipv4(), ipv6()} }

// base is what is the same whatever the policies say. A packet of a pod that no policy selects costs two lookups.
func base(tx *knftables.Transaction, n node) {
	for _, hook := range []knftables.BaseChainHook{knftables.ForwardHook, knftables.InputHook} {
		name := string(hook)
		tx.Add(&knftables.Chain{
			Name: name, Type: new(knftables.FilterType), Hook: new(hook),
			Priority: new(after), Policy: new(knftables.AcceptPolicy),
		})
		add := func(comment string, rule ...any) {
			tx.Add(&knftables.Rule{Chain: name, Rule: knftables.Concat(rule...), Comment: new(comment)})
		}
		add("connections that were let in", "ct state established,related accept")
		add("neighbour discovery", "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept")
		// The addresses that pods give themselves on the bridge are in nobody's rules.
		between := []any{"iifname", quoted(n.bridge)}
		if hook == knftables.ForwardHook {
			between = append(between, "oifname", quoted(n.bridge))
			add("no way around by what all pods on the bridge get", append(slices.Clone(between), "meta pkttype { broadcast, multicast } drop")...)
		}
		add("no way around by link-local addresses", append(slices.Clone(between), "ip6 saddr fe80::/10 drop")...)
		add("no way around to link-local addresses", append(slices.Clone(between), "ip6 daddr fe80::/10 drop")...)
		for _, f := range bothFamilies() {
			if hook == knftables.ForwardHook {
				add("a pod reaches itself", f.name, "saddr .", f.name, "daddr @self"+f.digit, "accept")
			}
			add("from a pod", f.name, "saddr vmap @"+string(egress)+f.digit)
			if hook == knftables.ForwardHook {
				add("to a pod", f.name, "daddr vmap @"+string(ingress)+f.digit)
			}
		}
	}
}

func quoted(name string) string { return `"` + name + `"` }

// change turns the rules that are there into those that are wanted. A chain that no pod needs any more is emptied and
// left: kernels before 6.2 do not delete one whose last reference goes in the same transaction.
func change(tx *knftables.Transaction, have, want *ruleset) {
	for _, name := range sorted(want.sets) {
		changeSet(tx, name, have.sets[name], want.sets[name])
	}
	for _, name := range sorted(want.chains) {
		changeChain(tx, name, have.chains[name], want.chains[name])
	}
	for _, f := range bothFamilies() {
		for _, d := range []direction{ingress, egress} {
			changeVerdicts(tx, string(d)+f.digit, have.verdicts[string(d)+f.digit], want.verdicts[string(d)+f.digit])
		}
	}
	for _, name := range sorted(have.chains) {
		if want.chains[name] == nil {
			tx.Flush(&knftables.Chain{Name: name})
		}
	}
	for _, name := range sorted(have.sets) {
		switch {
		case want.sets[name] != nil:
		case strings.HasPrefix(name, "self"):
			changeElements(tx, name, have.sets[name].elements, nil)
		default:
			tx.Delete(&knftables.Set{Name: name})
		}
	}
}

func changeSet(tx *knftables.Transaction, name string, have, want *set) {
	if have == nil {
		have = &set{}
		if !strings.HasPrefix(name, "self") {
			tx.Add(newSet(name, want))
		}
	}
	changeElements(tx, name, have.elements, want.elements)
}

func newSet(name string, s *set) *knftables.Set {
	made := &knftables.Set{Name: name, Type: s.kind}
	if s.interval {
		made.Flags = []knftables.SetFlag{knftables.IntervalFlag}
	}
	if s.comment != "" {
		made.Comment = new(limited(s.comment))
	}
	return made
}

func changeElements(tx *knftables.Transaction, name string, have, want map[string]struct{}) {
	for _, element := range sorted(have) {
		if _, stays := want[element]; !stays {
			tx.Delete(&knftables.Element{Set: name, Key: strings.Split(element, " . ")})
		}
	}
	for _, element := range sorted(want) {
		if _, there := have[element]; !there {
			tx.Add(&knftables.Element{Set: name, Key: strings.Split(element, " . ")})
		}
	}
}

func changeChain(tx *knftables.Transaction, name string, have, want *chain) {
	if have != nil && have.equal(want) {
		return
	}
	c := &knftables.Chain{Name: name, Comment: new(limited(want.comment))}
	tx.Add(c)
	if have != nil {
		tx.Flush(c)
	}
	for _, m := range want.rules {
		tx.Add(&knftables.Rule{Chain: name, Rule: m.String(), Comment: new(limited(m.policy))})
	}
	tx.Add(&knftables.Rule{Chain: name, Rule: "counter drop"})
}

func changeVerdicts(tx *knftables.Transaction, name string, have, want map[string]string) {
	for _, address := range sorted(have) {
		if want[address] != have[address] {
			tx.Delete(&knftables.Element{Map: name, Key: []string{address}})
		}
	}
	for _, address := range sorted(want) {
		if want[address] != have[address] {
			tx.Add(&knftables.Element{Map: name, Key: []string{address}, Value: []string{"jump " + want[address]}})
		}
	}
}

func limited(comment string) string {
	if len(comment) > commentLimit {
		return comment[:commentLimit-3] + "..."
	}
	return comment
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
