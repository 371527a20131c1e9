package loadbalancer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(name string, change ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
	for _, c := range change {
		c(svc)
	}
	return svc
}

func dual(svc *corev1.Service) {
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

func wishing(ip string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.LoadBalancerIP = ip } //nolint:staticcheck // what is tested
}

func having(ips ...string) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		for _, ip := range ips {
			svc.Status.LoadBalancer.Ingress = append(svc.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
	}
}

func onPorts(ports ...int32) func(*corev1.Service) {
	return func(svc *corev1.Service) {
		svc.Spec.Ports = nil
		for _, p := range ports {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Protocol: corev1.ProtocolTCP, Port: p})
		}
	}
}

func parsed[T any](parse func(string) T, texts ...string) []T {
	var list []T
	for _, text := range texts {
		list = append(list, parse(text))
	}
	return list
}

func prefixes(texts ...string) []netip.Prefix { return parsed(netip.MustParsePrefix, texts...) }
func addresses(texts ...string) []netip.Addr  { return parsed(netip.MustParseAddr, texts...) }

// check assigns and compares; reason is that of the refusal, "" for none.
func check(t *testing.T, a allocator, svc *corev1.Service, reason string, want ...string) *refusal {
	t.Helper()
	got, refused := a.assign(keyOf(svc), svc)
	if !slices.Equal(got, addresses(want...)) {
		t.Errorf("%s has %v, want %v", svc.Name, got, want)
	}
	if (refused == nil) != (reason == "") || refused != nil && refused.reason != reason {
		t.Errorf("%s: refusal %+v, want %q", svc.Name, refused, reason)
	}
	return refused
}

func TestPoolGivesEachItsOwn(t *testing.T) {
	p := newPools(prefixes("10.46.0.0/24", "fd42:b0c5:46::/112"))
	check(t, p, service("a"), "", "10.46.0.1")
	check(t, p, service("b", dual), "", "10.46.0.2", "fd42:b0c5:46::1")
	check(t, p, service("a"), "", "10.46.0.1")
	check(t, p, service("a", dual), "", "10.46.0.1", "fd42:b0c5:46::2")
	check(t, p, service("a"), "", "10.46.0.1") // one family again: the other address is free
	check(t, p, service("c", dual), "", "10.46.0.3", "fd42:b0c5:46::2")
	if !p.release("default/a") || p.release("default/a") {
		t.Error("release tells the wrong thing")
	}
	check(t, p, service("d"), "", "10.46.0.1")
}

func TestPoolExhausted(t *testing.T) {
	p := newPools(prefixes("10.46.0.0/30"))
	check(t, p, service("a"), "", "10.46.0.1")
	check(t, p, service("b"), "", "10.46.0.2")
	refused := check(t, p, service("c"), "NoAddressLeft")
	for _, want := range []string{"10.46.0.0/30", "default/a", "default/b", "network.loadBalancerPool"} {
		if !strings.Contains(refused.message, want) {
			t.Errorf("%q lacks %q", refused.message, want)
		}
	}
	p.release("default/b")
	check(t, p, service("c"), "", "10.46.0.2")
}

func TestPoolsTooSmallToWaste(t *testing.T) {
	for pool, want := range map[string][]string{
		"10.46.0.7/32": {"10.46.0.7"}, "10.46.0.6/31": {"10.46.0.6", "10.46.0.7"}, "10.46.0.4/30": {"10.46.0.5", "10.46.0.6"},
		"255.255.255.252/30": {"255.255.255.253", "255.255.255.254"},
	} {
		p := newPools(prefixes(pool))
		for i, ip := range want {
			check(t, p, service(string(rune('a'+i))), "", ip)
		}
		check(t, p, service("z"), "NoAddressLeft")
	}
}

// All families or none: what could be had of one family is not kept from others.
func TestPoolGivesNoHalf(t *testing.T) {
	p := newPools(prefixes("10.46.0.0/24", "fd42::/128"))
	check(t, p, service("a", dual), "", "10.46.0.1", "fd42::")
	check(t, p, service("b", dual), "NoAddressLeft")
	check(t, p, service("c"), "", "10.46.0.2")
	check(t, newPools(prefixes("10.46.0.0/24")), service("d", dual), "NoAddressOfFamily")
}

func TestPoolHonoursAWish(t *testing.T) {
	p := newPools(prefixes("10.46.0.0/24"))
	check(t, p, service("a", wishing("10.46.0.77")), "", "10.46.0.77")
	check(t, p, service("b", wishing("10.46.0.77")), "AddressTaken")
	check(t, p, service("c", wishing("192.0.2.1")), "AddressNotInPool", "10.46.0.1")
	check(t, p, service("d", wishing("nonsense")), "AddressNotInPool", "10.46.0.2")
	check(t, p, service("c", wishing("10.46.0.9")), "", "10.46.0.9") // moves
	check(t, p, service("e"), "", "10.46.0.1")
	check(t, p, service("e", wishing("10.46.0.9")), "AddressTaken", "10.46.0.1") // keeps what it has
	p.release("default/a")
	check(t, p, service("b", wishing("10.46.0.77")), "", "10.46.0.77")
}

func TestPoolAdopts(t *testing.T) {
	p := newPools(prefixes("10.46.0.0/24"))
	p.adopt("default/a", service("a", having("10.46.0.5")))
	p.adopt("default/b", service("b", having("10.46.0.5"))) // the newer of two
	p.adopt("default/c", service("c", having("10.99.0.5"))) // of an earlier pool
	p.adopt("default/d", service("d", having("10.46.0.1", "10.46.0.2", "x")))
	check(t, p, service("a"), "", "10.46.0.5")
	check(t, p, service("b"), "", "10.46.0.2")
	check(t, p, service("c"), "", "10.46.0.3")
	check(t, p, service("d"), "", "10.46.0.1")
}

func TestNodeAddressIsShared(t *testing.T) {
	s := newShared(addresses("10.42.0.1", "fd42::1"), 6443, 10053)
	check(t, s, service("a"), "", "10.42.0.1")
	check(t, s, service("b", onPorts(443, 8443), dual), "", "10.42.0.1", "fd42::1")
	refused := check(t, s, service("c", onPorts(8080, 443)), "PortTaken")
	if !refused.ports || !strings.Contains(refused.message, "443/TCP") || !strings.Contains(refused.message, "default/b") {
		t.Errorf("%+v", refused)
	}
	check(t, s, service("d", onPorts(8080)), "", "10.42.0.1") // c got nothing, so its other port is free
	check(t, s, service("e", onPorts(6443)), "PortTaken")
	check(t, s, service("f", onPorts(10250)), "PortTaken")
	check(t, s, service("g", onPorts(10053)), "PortTaken")
	check(t, s, service("b", onPorts(9443)), "", "10.42.0.1")
	check(t, s, service("h", onPorts(443), wishing("10.42.0.1")), "", "10.42.0.1")
	check(t, s, service("i", onPorts(444), wishing("10.46.0.1")), "AddressNotInPool", "10.42.0.1")
	check(t, newShared(addresses("10.42.0.1"), 6443, 10053), service("j", dual), "NoAddressOfFamily")

	again := newShared(addresses("10.42.0.1"), 6443, 10053)
	again.adopt("default/a", service("a", having("10.42.0.1")))
	again.adopt("default/b", service("b"))
	again.adopt("default/c", service("c", having("10.42.0.1"), onPorts(80, 81)))
	check(t, again, service("b"), "PortTaken")
	check(t, again, service("c", onPorts(81)), "", "10.42.0.1")
}
