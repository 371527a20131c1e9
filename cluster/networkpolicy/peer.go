package networkpolicy

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// node is what the rules need to know of the machine. It does not change.
type node struct {
	bridge   string // of the pods
	families []family
	dns      resolver
}

// resolver is the cluster's DNS, which policies mean when they name its pods, and which is a process of the node here.
type resolver struct {
	addresses []netip.Addr // where it listens, on port
	services  []netip.Addr // where pods ask it, on port 53
	port      uint16
}

const dnsPort = 53

// dnsLabels are those of the pods of CoreDNS where it is a Deployment in kube-system; policies are written for them.
func dnsLabels() labels.Set {
	return labels.Set{"k8s-app": "kube-dns", "app.kubernetes.io/name": "coredns"}
}

// dnsPortName is what these pods call their ports.
func dnsPortName(p corev1.Protocol) string {
	return map[corev1.Protocol]string{corev1.ProtocolUDP: "dns", corev1.ProtocolTCP: "dns-tcp"}[p]
}

// peers returns a match for each set of addresses that the peers of a rule have: none is anyone.
func (c *compiler) peers(namespace string, peers []networkingv1.NetworkPolicyPeer) []match {
	if len(peers) == 0 {
		return []match{{}}
	}
	var selecting []networkingv1.NetworkPolicyPeer
	var blocks []addressRange
	for _, p := range peers {
		if p.IPBlock != nil {
			blocks = append(blocks, blockRanges(p.IPBlock)...)
		} else {
			selecting = append(selecting, p)
		}
	}
	matches := c.blocks(union(blocks))
	if len(selecting) > 0 {
		matches = append(matches, c.selected(namespace, selecting)...)
	}
	return matches
}

// selected makes the sets of the addresses of the pods that any of the peers selects. Rules with the same peers
// share them.
func (c *compiler) selected(namespace string, peers []networkingv1.NetworkPolicyPeer) []match {
	texts := make([]string, len(peers))
	for i, p := range peers {
		texts[i] = describe(namespace, p)
	}
	slices.Sort(texts)
	text := strings.Join(slices.Compact(texts), " or ")
	matches := make([]match, 0, len(c.node.families))
	made := true
	for _, f := range c.node.families {
		name := "pods" + f.digit + "-" + digest(text)
		made = made && c.rules.sets[name] != nil
		c.set(name, f.address, text)
		matches = append(matches, match{family: f, peers: name})
	}
	if made {
		return matches
	}
	for _, p := range peers {
		c.eachPod(namespace, p, func(a addressed) {
			for _, address := range a.addresses {
				if s := c.rules.sets["pods"+familyOf(address).digit+"-"+digest(text)]; s != nil {
					s.elements[address.String()] = struct{}{}
				}
			}
		})
	}
	return matches
}

func (c *compiler) eachPod(own string, peer networkingv1.NetworkPolicyPeer, do func(addressed)) {
	selector := labels.Everything()
	if peer.PodSelector != nil {
		selector = selectorOf(peer.PodSelector)
	}
	for name, pods := range c.pods {
		if !c.inNamespace(own, peer, name) {
			continue
		}
		for _, p := range pods {
			if selector.Matches(labels.Set(p.Labels)) {
				do(p)
			}
		}
	}
}

// inNamespace tells whether a peer of a policy in the namespace own is about the namespace name.
func (c *compiler) inNamespace(own string, peer networkingv1.NetworkPolicyPeer, name string) bool {
	if peer.NamespaceSelector == nil {
		return own == name
	}
	return selectorOf(peer.NamespaceSelector).Matches(c.namespaces[name])
}

// describe is the same for peers that select the same pods. It begins with a namespace or a selector of
// namespaces, which are kept apart.
func describe(namespace string, p networkingv1.NetworkPolicyPeer) string {
	where := "in " + namespace
	if p.NamespaceSelector != nil {
		where = "in namespaces " + format(p.NamespaceSelector)
	}
	if p.PodSelector == nil {
		return "pods any " + where
	}
	return "pods " + format(p.PodSelector) + " " + where
}

func format(s *metav1.LabelSelector) string {
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		return "any"
	}
	return "[" + metav1.FormatLabelSelector(s) + "]"
}

// blocks makes the sets of ranges.
func (c *compiler) blocks(ranges []addressRange) []match {
	var matches []match
	for _, f := range c.node.families {
		elements := map[string]struct{}{}
		var texts []string
		for _, r := range ranges {
			if familyOf(r.from) == f {
				elements[r.String()] = struct{}{}
				texts = append(texts, r.String())
			}
		}
		if len(texts) == 0 {
			continue
		}
		name := "blocks" + f.digit + "-" + digest(strings.Join(texts, ","))
		c.rules.sets[name] = &set{kind: f.address, interval: true, elements: elements}
		matches = append(matches, match{family: f, peers: name})
	}
	return matches
}

// portsOf returns a match for each protocol, with its ports, and for each name of a port: none is any.
func (c *compiler) portsOf(ports []networkingv1.NetworkPolicyPort) []match {
	if len(ports) == 0 {
		return []match{{}}
	}
	var matches []match
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
		all := false
		var numbers []portRange
		for _, p := range ports {
			switch {
			case protocolOf(p) != protocol:
			case p.Port == nil:
				all = true
			case p.Port.Type == intstr.String:
				matches = append(matches, c.named(protocol, p.Port.StrVal)...)
			default:
				numbers = append(numbers, numbersOf(p)...)
			}
		}
		if all {
			matches = append(matches, match{protocol: protocol})
		} else if len(numbers) > 0 {
			matches = append(matches, match{protocol: protocol, ports: joinRanges(numbers)})
		}
	}
	return matches
}

func protocolOf(p networkingv1.NetworkPolicyPort) corev1.Protocol {
	if p.Protocol == nil {
		return corev1.ProtocolTCP
	}
	return *p.Protocol
}

func numbersOf(p networkingv1.NetworkPolicyPort) []portRange {
	from, to := p.Port.IntVal, p.Port.IntVal
	if p.EndPort != nil {
		to = *p.EndPort
	}
	if from < 1 || to > maxPort || to < from {
		return nil
	}
	return []portRange{{from: uint16(from), to: uint16(to)}}
}

// named makes the sets of all pods that call a port so, each with its number.
func (c *compiler) named(protocol corev1.Protocol, name string) []match {
	text := "port " + name + "/" + strings.ToLower(string(protocol))
	matches := make([]match, 0, len(c.node.families))
	for _, f := range c.node.families {
		set := "ports" + f.digit + "-" + digest(text)
		c.set(set, f.address+" . inet_service", text)
		matches = append(matches, match{family: f, protocol: protocol, named: set})
	}
	if c.ports[text] {
		return matches
	}
	c.ports[text] = true
	for _, pods := range c.pods {
		for _, p := range pods {
			c.addNamed(p, namedPort{name: name, protocol: protocol}, digest(text))
		}
	}
	return matches
}

func (c *compiler) addNamed(p addressed, want namedPort, suffix string) {
	for _, port := range p.ports {
		if port.name != want.name || port.protocol != want.protocol {
			continue
		}
		for _, address := range p.addresses {
			if s := c.rules.sets["ports"+familyOf(address).digit+"-"+suffix]; s != nil {
				s.elements[address.String()+" . "+portRange{port.port, port.port}.String()] = struct{}{}
			}
		}
	}
}

// names lets names be asked for where an egress rule means the pods of the cluster's DNS and their port: it is
// no pod here, and listens on another port.
func (c *compiler) names(namespace string, r networkingv1.NetworkPolicyEgressRule) []match {
	if len(r.Ports) == 0 && len(r.To) == 0 || !c.meansDNS(namespace, r.To) {
		return nil // nobody or everything is meant
	}
	var matches []match
	for _, protocol := range []corev1.Protocol{corev1.ProtocolUDP, corev1.ProtocolTCP} {
		if !c.meansDNSPort(protocol, r.Ports) {
			continue
		}
		for _, address := range c.node.dns.addresses {
			port := c.node.dns.port
			matches = append(matches, match{
				family: familyOf(address), address: address, protocol: protocol, ports: []portRange{{port, port}},
			})
		}
	}
	return matches
}

func (c *compiler) meansDNS(namespace string, peers []networkingv1.NetworkPolicyPeer) bool {
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		if p.IPBlock != nil {
			return slices.ContainsFunc(blockRanges(p.IPBlock), func(r addressRange) bool {
				return slices.ContainsFunc(slices.Concat(c.node.dns.addresses, c.node.dns.services), r.contains)
			})
		}
		return c.inNamespace(namespace, p, metav1.NamespaceSystem) &&
			(p.PodSelector == nil || selectorOf(p.PodSelector).Matches(dnsLabels()))
	})
}

func (c *compiler) meansDNSPort(protocol corev1.Protocol, ports []networkingv1.NetworkPolicyPort) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool {
		switch {
		case protocolOf(p) != protocol:
			return false
		case p.Port == nil:
			return true
		case p.Port.Type == intstr.String:
			return p.Port.StrVal == dnsPortName(protocol)
		}
		return slices.ContainsFunc(numbersOf(p), func(r portRange) bool {
			return r.contains(dnsPort) || r.contains(c.node.dns.port)
		})
	})
}
