package networkpolicy

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/knftables"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/golden"
)

func testNode(t *testing.T) node {
	t.Helper()
	n, err := newNode(golden.Cluster(t, "../.."))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// apiPod goes through what the informer does to a pod.
func apiPod(t *testing.T, namespace, name string, labels map[string]string, addresses []string, change func(*corev1.Pod)) *pod {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + "/" + name), Labels: labels}}
	for _, a := range addresses {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: a})
	}
	if change != nil {
		change(p)
	}
	trimmed, err := trim(p)
	if err != nil {
		t.Fatal(err)
	}
	return trimmed.(*pod)
}

func withPorts(ports ...corev1.ContainerPort) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers = []corev1.Container{{Ports: ports}} }
}

// address of each pod of world, and some that are no pods'.
func address(name string) string {
	known := map[string]string{
		"x/web": "10.42.0.10", "x/client": "10.42.0.11", "x/old": "10.42.0.12", "y/client": "10.42.0.20", "y/web": "10.42.0.21",
		"z/reused": "10.42.0.30", "node": "10.42.0.1", "world": "198.51.100.7",
		"x/web6": "fd42:b0c5:42::10", "x/client6": "fd42:b0c5:42::11", "y/client6": "fd42:b0c5:42::20",
	}
	if a, ok := known[name]; ok {
		return a
	}
	return name
}

// world is a small cluster.
func world(t *testing.T, policies string) objects {
	t.Helper()
	pods := []*pod{
		apiPod(t, "x", "web", map[string]string{"app": "web"}, []string{"10.42.0.10", "fd42:b0c5:42::10"}, withPorts(
			corev1.ContainerPort{Name: "http", ContainerPort: 8080}, corev1.ContainerPort{Name: "metrics", ContainerPort: 9090, Protocol: corev1.ProtocolTCP},
			corev1.ContainerPort{Name: "query", ContainerPort: 5353, Protocol: corev1.ProtocolUDP})),
		apiPod(t, "x", "client", map[string]string{"app": "client", "tier": "front"}, []string{"10.42.0.11", "fd42:b0c5:42::11"}, nil),
		apiPod(t, "x", "old", map[string]string{"app": "old"}, []string{"10.42.0.12"}, withPorts(corev1.ContainerPort{Name: "http", ContainerPort: 80})),
		apiPod(t, "y", "client", map[string]string{"app": "client"}, []string{"10.42.0.20", "fd42:b0c5:42::20"}, nil),
		apiPod(t, "y", "web", map[string]string{"app": "web"}, []string{"10.42.0.21"}, nil),
		// Its address is y's in the API still, and z's in truth.
		apiPod(t, "x", "ended", map[string]string{"app": "web"}, []string{"10.42.0.30"}, func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		apiPod(t, "z", "reused", nil, []string{"10.42.0.30"}, nil),
		apiPod(t, "x", "host", map[string]string{"app": "web"}, []string{"10.42.0.1"}, func(p *corev1.Pod) { p.Spec.HostNetwork = true }),
	}
	o := objects{pods: own(pods, nil), namespaces: map[string]labels.Set{}}
	for name, team := range map[string]string{"x": "red", "y": "blue", "z": "blue", "kube-system": "platform"} {
		o.namespaces[name] = labels.Set{"kubernetes.io/metadata.name": name, "team": team}
	}
	for i, text := range strings.Split(policies, "\n---\n") {
		if strings.TrimSpace(text) == "" {
			continue
		}
		p := &networkingv1.NetworkPolicy{}
		if err := yaml.UnmarshalStrict([]byte(text), &p.Spec); err != nil {
			t.Fatalf("policy %d: %v", i, err)
		}
		p.Namespace, p.Name = "x", "policy-"+string(rune('a'+i))
		o.policies = append(o.policies, p)
	}
	return o
}

// packet is the first of a connection: "x/client > x/web tcp 80".
func allows(t *testing.T, r *ruleset, packet string) bool {
	t.Helper()
	f := strings.Fields(packet)
	if len(f) < 4 || f[1] != ">" {
		t.Fatalf("packet %q", packet)
	}
	from, to := netip.MustParseAddr(address(f[0])), netip.MustParseAddr(address(f[2]))
	var port uint64
	if len(f) > 4 {
		for _, digit := range f[4] {
			port = port*10 + uint64(digit-'0')
		}
	}
	protocol := corev1.Protocol(strings.ToUpper(f[3]))
	digit := familyOf(from).digit
	if s := r.sets["self"+digit]; s != nil {
		if _, own := s.elements[from.String()+" . "+to.String()]; own {
			return true
		}
	}
	return r.passes(r.verdicts["egress"+digit][from.String()], from, to, protocol, uint16(port)) &&
		r.passes(r.verdicts["ingress"+digit][to.String()], from, to, protocol, uint16(port))
}

func (r *ruleset) passes(name string, from, to netip.Addr, protocol corev1.Protocol, port uint16) bool {
	if name == "" {
		return true
	}
	for _, m := range r.chains[name].rules {
		far := from
		if m.direction == egress {
			far = to
		}
		switch {
		case m.family != family{} && m.family != familyOf(from):
		case m.peers != "" && !r.sets[m.peers].has(far):
		case m.address.IsValid() && m.address != far:
		case m.protocol != "" && m.protocol != protocol:
		case len(m.ports) > 0 && !hasPort(m.ports, port):
		case m.named != "" && !r.hasNamed(m.named, to, port):
		default:
			return true
		}
	}
	return false
}

func (s *set) has(a netip.Addr) bool {
	for element := range s.elements {
		from, to, isRange := strings.Cut(element, "-")
		if !isRange {
			to = from
		}
		if (addressRange{netip.MustParseAddr(from), netip.MustParseAddr(to)}).contains(a) {
			return true
		}
	}
	return false
}

func (r *ruleset) hasNamed(name string, to netip.Addr, port uint16) bool {
	_, found := r.sets[name].elements[to.String()+" . "+portRange{port, port}.String()]
	return found
}

func hasPort(ports []portRange, port uint16) bool {
	for _, p := range ports {
		if p.contains(port) {
			return true
		}
	}
	return false
}

func TestWhatPoliciesAllow(t *testing.T) {
	for name, test := range map[string]struct {
		policies   string
		pass, drop []string
	}{
		"no policy": {
			policies: "", pass: []string{"x/client > x/web tcp 80", "world > x/web tcp 80", "x/web > world udp 9"},
		},
		"default deny of ingress": {
			policies: "podSelector: {}\npolicyTypes: [Ingress]",
			drop:     []string{"x/client > x/web tcp 80", "y/client > x/web icmp", "world > x/web tcp 80", "y/client6 > x/web6 tcp 80"},
			pass:     []string{"x/web > y/client tcp 80", "x/web > node tcp 6443", "x/web > x/web tcp 80", "x/web > world tcp 80", "y/client > z/reused tcp 80"},
		},
		"default deny of egress": {
			policies: "podSelector: {}\npolicyTypes: [Egress]",
			drop:     []string{"x/client > x/web tcp 80", "x/web > world tcp 80", "x/web > node udp 10053", "x/web6 > y/client6 tcp 80"},
			pass:     []string{"y/client > x/web tcp 80", "world > x/web tcp 80", "x/web > x/web tcp 80", "z/reused > world tcp 80"},
		},
		"policyTypes have their defaults": {
			policies: "podSelector: {matchLabels: {app: web}}\negress: [{to: [{podSelector: {}}]}]",
			drop:     []string{"x/client > x/web tcp 80", "x/web > world tcp 80"},
			pass:     []string{"x/web > x/client tcp 80", "x/client > world tcp 80"},
		},
		"pods of the same namespace by labels": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]",
			pass:     []string{"x/client > x/web tcp 80", "x/client6 > x/web6 tcp 80", "x/client > x/web icmp", "x/old > x/client tcp 80"},
			drop:     []string{"y/client > x/web tcp 80", "y/client6 > x/web6 tcp 80", "x/old > x/web tcp 80", "world > x/web tcp 80"},
		},
		"expressions": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: [client, old]}, {key: tier, operator: DoesNotExist}]}}]}]",
			pass:     []string{"x/old > x/web tcp 80"},
			drop:     []string{"x/client > x/web tcp 80", "y/client > x/web tcp 80"},
		},
		"all pods of namespaces by labels": {
			policies: "podSelector: {}\ningress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}]}]",
			pass:     []string{"y/client > x/web tcp 80", "y/web > x/web tcp 80", "z/reused > x/client tcp 80"},
			drop:     []string{"x/client > x/web tcp 80", "world > x/web tcp 80"},
		},
		"both selectors of one peer": {
			policies: "podSelector: {}\ningress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}, podSelector: {matchLabels: {app: client}}}]}]",
			pass:     []string{"y/client > x/web tcp 80"},
			drop:     []string{"y/web > x/web tcp 80", "x/client > x/web tcp 80"},
		},
		"either selector of two peers": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}, {podSelector: {matchLabels: {app: client}}}]}]",
			pass:     []string{"y/client > x/web tcp 80", "y/web > x/web tcp 80", "x/client > x/web tcp 80"},
			drop:     []string{"x/old > x/web tcp 80"},
		},
		"ports and ranges": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 80}, {port: 8000, endPort: 8010}, {port: 8005, endPort: 8020}, {port: 53, protocol: UDP}]}]",
			pass:     []string{"x/client > x/web tcp 80", "world > x/web tcp 8000", "y/client6 > x/web6 tcp 8020", "x/client > x/web udp 53"},
			drop:     []string{"x/client > x/web tcp 81", "x/client > x/web tcp 8021", "x/client > x/web udp 80", "x/client > x/web tcp 53", "x/client > x/web icmp", "x/client > x/web sctp 80"},
		},
		"a protocol without a port": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{protocol: UDP}]}]",
			pass:     []string{"x/client > x/web udp 1", "x/client > x/web udp 65535"},
			drop:     []string{"x/client > x/web tcp 1"},
		},
		"SCTP is not TCP": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{protocol: SCTP, port: 80}]}]",
			pass:     []string{"x/client > x/web sctp 80"},
			drop:     []string{"x/client > x/web tcp 80"},
		},
		"named ports of the destination, ingress": {
			policies: "podSelector: {}\ningress: [{ports: [{port: http}, {port: query, protocol: UDP}]}]",
			pass:     []string{"x/client > x/web tcp 8080", "x/client6 > x/web6 tcp 8080", "x/client > x/old tcp 80", "y/client > x/web udp 5353"},
			drop:     []string{"x/client > x/web tcp 80", "x/client > x/old tcp 8080", "x/client > x/web tcp 5353", "y/client > x/client tcp 80"},
		},
		"named ports of the destination, egress": {
			policies: "podSelector: {matchLabels: {app: client}}\negress: [{ports: [{port: metrics}], to: [{podSelector: {}}]}]\npolicyTypes: [Egress]",
			pass:     []string{"x/client > x/web tcp 9090"},
			drop:     []string{"x/client > x/web tcp 8080", "x/client > x/old tcp 9090", "x/client > world tcp 9090"},
		},
		"a name that no port has is not every port": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: none}]}]",
			drop:     []string{"x/client > x/web tcp 80", "x/client > x/web tcp 8080"},
		},
		"blocks and their exceptions": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.0/29, 198.51.100.128/25]}}]}]",
			pass:     []string{"198.51.100.8 > x/web tcp 80", "198.51.100.127 > x/web tcp 80"},
			drop:     []string{"198.51.100.7 > x/web tcp 80", "198.51.100.128 > x/web tcp 80", "198.51.101.1 > x/web tcp 80", "x/client > x/web tcp 80", "x/client6 > x/web6 tcp 80"},
		},
		"an exception of one block is no exception of another": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.0/29]}}, {ipBlock: {cidr: 198.51.100.7/32}}]}]",
			pass:     []string{"world > x/web tcp 80", "198.51.100.200 > x/web tcp 80"},
			drop:     []string{"198.51.100.6 > x/web tcp 80"},
		},
		"all of IPv6": {
			policies: "podSelector: {matchLabels: {app: client}}\negress: [{to: [{ipBlock: {cidr: '::/0', except: ['fd42::/16']}}]}]\npolicyTypes: [Egress]",
			pass:     []string{"x/client6 > 2001:db8::1 tcp 80"},
			drop:     []string{"x/client6 > x/web6 tcp 80", "x/client > world tcp 80"},
		},
		"policies are a union": {
			policies: "podSelector: {}\n---\npodSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 80}]}]\n---\npodSelector: {matchLabels: {app: web}}\ningress: [{from: [{podSelector: {matchLabels: {app: old}}}]}]",
			pass:     []string{"y/client > x/web tcp 80", "x/old > x/web tcp 81"},
			drop:     []string{"y/client > x/web tcp 81", "y/client > x/client tcp 80"},
		},
		"both ends must allow": {
			policies: "podSelector: {matchLabels: {app: web}}\ningress: [{from: [{podSelector: {}}]}]\n---\npodSelector: {matchLabels: {app: client}}\npolicyTypes: [Egress]\negress: [{to: [{podSelector: {matchLabels: {app: old}}}]}]",
			drop:     []string{"x/client > x/web tcp 80"},
			pass:     []string{"x/old > x/web tcp 80", "x/client > x/old tcp 80"},
		},
		"everything is allowed": {
			policies: "podSelector: {}\npolicyTypes: [Ingress, Egress]\ningress: [{}]\negress: [{}]",
			pass:     []string{"world > x/web tcp 80", "x/web > node tcp 6443", "x/web > node udp 10053", "x/web6 > 2001:db8::1 icmp"},
		},
		"names, as policies have them everywhere": {
			policies: "podSelector: {}\npolicyTypes: [Egress]\negress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{port: 53, protocol: UDP}, {port: 53}]}]",
			pass:     []string{"x/web > node udp 10053", "x/web > node tcp 10053", "x/web6 > fd42:b0c5:42::1 udp 10053"},
			drop:     []string{"x/web > node tcp 6443", "x/web > node tcp 10250", "x/web > world udp 53", "x/web > x/client tcp 80"},
		},
		"names of all namespaces, one protocol": {
			policies: "podSelector: {}\npolicyTypes: [Egress]\negress: [{to: [{namespaceSelector: {}}], ports: [{port: 53, protocol: UDP}]}]",
			pass:     []string{"x/web > node udp 10053", "x/web > y/web udp 53"},
			drop:     []string{"x/web > node tcp 10053", "x/web > world udp 53"},
		},
		"names by port alone": {
			policies: "podSelector: {}\npolicyTypes: [Egress]\negress: [{ports: [{port: 53, protocol: UDP}]}]",
			pass:     []string{"x/web > node udp 10053", "x/web > world udp 53"},
			drop:     []string{"x/web > node tcp 10053", "x/web > node udp 10054"},
		},
		"names by the address of their Service": {
			policies: "podSelector: {}\npolicyTypes: [Egress]\negress: [{to: [{ipBlock: {cidr: 10.43.0.10/32}}], ports: [{port: 53, protocol: UDP}]}]",
			pass:     []string{"x/web > node udp 10053"},
			drop:     []string{"x/web > node tcp 10053"},
		},
		"names by the name of their port": {
			policies: "podSelector: {}\npolicyTypes: [Egress]\negress: [{to: [{namespaceSelector: {}}], ports: [{port: dns, protocol: UDP}, {port: dns-tcp}]}]",
			pass:     []string{"x/web > node udp 10053", "x/web > node tcp 10053"},
		},
		"other pods of kube-system are not meant": {
			policies: "podSelector: {}\npolicyTypes: [Egress]\negress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {app: metrics}}}]}, {to: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}, {to: [{namespaceSelector: {}}], ports: [{port: 443}]}]",
			drop:     []string{"x/web > node udp 10053", "x/web > node tcp 10053"},
		},
		"an address belongs to the pod that has it now": {
			policies: "podSelector: {matchLabels: {app: web}}\npolicyTypes: [Ingress, Egress]",
			pass:     []string{"y/client > z/reused tcp 80", "z/reused > y/client tcp 80"},
			drop:     []string{"z/reused > x/web tcp 80"},
		},
		"pods of the host's network are not selected": {
			policies: "podSelector: {}\npolicyTypes: [Ingress, Egress]",
			pass:     []string{"node > z/reused tcp 80", "z/reused > node tcp 80"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := compile(testNode(t), world(t, test.policies))
			for _, packet := range test.pass {
				if !allows(t, r, packet) {
					t.Errorf("%s does not pass", packet)
				}
			}
			for _, packet := range test.drop {
				if allows(t, r, packet) {
					t.Errorf("%s passes", packet)
				}
			}
			// nft agrees with the references between chains, sets and maps.
			fake := knftables.NewFake(knftables.InetFamily, tableName)
			tx := fake.NewTransaction()
			replace(tx, testNode(t), r)
			if err := fake.Run(t.Context(), tx); err != nil {
				t.Error(err)
			}
		})
	}
}

const examplePolicies = `podSelector: {}
policyTypes: [Ingress, Egress]
---
podSelector: {matchLabels: {app: web}}
ingress:
- from:
  - podSelector: {matchLabels: {app: client}}
  - namespaceSelector: {matchLabels: {team: blue}}
    podSelector: {matchLabels: {app: client}}
  ports: [{port: http}, {port: 8000, endPort: 8100}, {port: 5353, protocol: UDP}]
- from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.64/26]}}, {ipBlock: {cidr: "2001:db8::/32"}}]
---
podSelector: {matchLabels: {app: client}}
policyTypes: [Egress]
egress:
- to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
  ports: [{port: 53, protocol: UDP}, {port: 53}]
- to: [{podSelector: {matchLabels: {app: web}}}]
`

func TestTransactions(t *testing.T) {
	n := testNode(t)
	fake := knftables.NewFake(knftables.InetFamily, tableName)
	whole, less := compile(n, world(t, examplePolicies)), compile(n, world(t, examplePolicies[:strings.LastIndex(examplePolicies, "---")]))
	tx := fake.NewTransaction()
	replace(tx, n, whole)
	golden.Equal(t, "replace.nft", tx.String())
	for name, step := range map[string]struct{ have, want *ruleset }{
		"less.nft": {whole, less},
		"more.nft": {less, whole},
		"none.nft": {whole, newRuleset()},
	} {
		tx := fake.NewTransaction()
		change(tx, step.have, step.want)
		golden.Equal(t, name, tx.String())
	}
	nothing := fake.NewTransaction()
	change(nothing, whole, compile(n, world(t, examplePolicies)))
	if nothing.NumOperations() != 0 {
		t.Errorf("the same again is a change:\n%s", nothing)
	}
}

func TestAPodThatComesChangesOnlySets(t *testing.T) {
	n := testNode(t)
	before := world(t, examplePolicies)
	later := world(t, examplePolicies)
	later.pods = append(later.pods, own([]*pod{apiPod(t, "x", "new", map[string]string{"app": "client"}, []string{"10.42.0.99"}, nil)}, nil)...)
	fake := knftables.NewFake(knftables.InetFamily, tableName)
	tx := fake.NewTransaction()
	change(tx, compile(n, before), compile(n, later))
	golden.Equal(t, "pod.nft", tx.String())
}

// BenchmarkCompile is one look at 1,000 pods in 20 namespaces with 100 policies: what a change costs there.
func BenchmarkCompile(b *testing.B) {
	n := node{bridge: "boxyard0", families: bothFamilies()}
	o := objects{namespaces: map[string]labels.Set{}}
	for i := range 1000 {
		p := &pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "n" + strconv.Itoa(i%20), Name: strconv.Itoa(i), Labels: map[string]string{"app": "a" + strconv.Itoa(i%7)},
		}}
		o.pods = append(o.pods, addressed{pod: p, addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 42, byte(i >> 8), byte(i)})}})
		o.namespaces[p.Namespace] = labels.Set{"team": "t" + strconv.Itoa(i%20%3)}
	}
	for i := range 100 {
		p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n" + strconv.Itoa(i%20), Name: strconv.Itoa(i)}}
		p.Spec.PodSelector.MatchLabels = map[string]string{"app": "a" + strconv.Itoa(i%7)}
		p.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "t" + strconv.Itoa(i%3)}},
		}}}}
		o.policies = append(o.policies, p)
	}
	for b.Loop() {
		compile(n, o)
	}
}
