package networkpolicy

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// objects are what the rules follow from.
type objects struct {
	policies   []*networkingv1.NetworkPolicy
	pods       []addressed
	namespaces map[string]labels.Set
}

// addressed is a pod with the addresses that are its own now.
type addressed struct {
	*pod
	addresses []netip.Addr
}

// compiler carries what compile has found out on the way.
type compiler struct {
	node       node
	namespaces map[string]labels.Set
	pods       map[string][]addressed // by namespace
	rules      *ruleset
	ports      map[string]bool // the sets of named ports that are made already
}

// compile builds the rules for all policies. Objects are only read. Nothing comes of nothing: without
// policies the ruleset is empty.
func compile(n node, o objects) *ruleset {
	c := &compiler{node: n, namespaces: o.namespaces, pods: map[string][]addressed{}, rules: newRuleset(), ports: map[string]bool{}}
	for _, p := range o.pods {
		c.pods[p.Namespace] = append(c.pods[p.Namespace], p)
	}
	policies := slices.Clone(o.policies)
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int { return strings.Compare(key(a), key(b)) })
	for _, d := range []direction{ingress, egress} {
		c.isolate(d, policies)
	}
	return c.rules
}

func key(p *networkingv1.NetworkPolicy) string { return p.Namespace + "/" + p.Name }

// isolate gives each pod that policies select the chain of exactly these policies.
func (c *compiler) isolate(d direction, policies []*networkingv1.NetworkPolicy) {
	selecting := map[*pod][]*networkingv1.NetworkPolicy{}
	allowed := map[*networkingv1.NetworkPolicy][]match{}
	for _, p := range policies {
		if !applies(p, d) {
			continue
		}
		allowed[p] = c.allowed(p, d)
		selector := selectorOf(&p.Spec.PodSelector)
		for _, candidate := range c.pods[p.Namespace] {
			if selector.Matches(labels.Set(candidate.Labels)) {
				selecting[candidate.pod] = append(selecting[candidate.pod], p)
			}
		}
	}
	for _, pods := range c.pods {
		for _, p := range pods {
			if by := selecting[p.pod]; len(by) > 0 {
				c.send(d, p, c.chain(d, by, allowed))
			}
		}
	}
}

// send makes the pod's packets go through a chain.
func (c *compiler) send(d direction, p addressed, chain string) {
	for _, address := range p.addresses {
		f := familyOf(address)
		name := string(d) + f.digit
		if c.rules.verdicts[name] == nil {
			c.rules.verdicts[name] = map[string]string{}
		}
		c.rules.verdicts[name][address.String()] = chain
		// A pod is never kept from itself.
		own := c.set("self"+f.digit, f.address+" . "+f.address, "")
		own.elements[address.String()+" . "+address.String()] = struct{}{}
	}
}

// chain returns the name of the chain of these policies, and makes it when it is not there.
func (c *compiler) chain(d direction, policies []*networkingv1.NetworkPolicy, allowed map[*networkingv1.NetworkPolicy][]match) string {
	names := make([]string, len(policies))
	for i, p := range policies {
		names[i] = key(p)
	}
	comment := strings.Join(names, ", ")
	name := string(d) + "-" + digest(comment)
	if c.rules.chains[name] != nil {
		return name
	}
	made := &chain{comment: comment}
	for _, p := range policies {
		made.rules = append(made.rules, allowed[p]...)
	}
	c.rules.chains[name] = made
	return name
}

// allowed is what one policy lets pass in one direction.
func (c *compiler) allowed(p *networkingv1.NetworkPolicy, d direction) []match {
	var matches []match
	if d == ingress {
		for _, r := range p.Spec.Ingress {
			matches = append(matches, c.combine(d, c.peers(p.Namespace, r.From), c.portsOf(r.Ports))...)
		}
	} else {
		for _, r := range p.Spec.Egress {
			matches = append(matches, c.combine(d, c.peers(p.Namespace, r.To), c.portsOf(r.Ports))...)
			matches = append(matches, c.names(p.Namespace, r)...)
		}
	}
	for i := range matches {
		matches[i].direction, matches[i].policy = d, key(p)
	}
	return matches
}

// combine makes a match of each peer with each port, where their families agree.
func (*compiler) combine(d direction, peers, ports []match) []match {
	var matches []match
	for _, peer := range peers {
		for _, port := range ports {
			if peer.family != (family{}) && port.family != (family{}) && peer.family != port.family {
				continue
			}
			m := port
			m.direction, m.peers = d, peer.peers
			if m.family == (family{}) {
				m.family = peer.family
			}
			matches = append(matches, m)
		}
	}
	return matches
}

// set returns a set that may be there already.
func (c *compiler) set(name, kind, comment string) *set {
	if s := c.rules.sets[name]; s != nil {
		return s
	}
	s := &set{kind: kind, comment: comment, elements: map[string]struct{}{}}
	c.rules.sets[name] = s
	return s
}

// applies tells whether a policy isolates in a direction. The API server fills policyTypes in.
func applies(p *networkingv1.NetworkPolicy, d direction) bool {
	if len(p.Spec.PolicyTypes) == 0 {
		return d == ingress || len(p.Spec.Egress) > 0
	}
	kind := networkingv1.PolicyTypeIngress
	if d == egress {
		kind = networkingv1.PolicyTypeEgress
	}
	return slices.Contains(p.Spec.PolicyTypes, kind)
}

// selectorOf returns a selector that matches nothing for one that cannot be read, which the API does not let pass.
func selectorOf(s *metav1.LabelSelector) labels.Selector {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selector
}

// digest is short enough for a name in nft and long enough to be the only one.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
