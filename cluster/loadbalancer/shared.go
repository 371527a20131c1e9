package loadbalancer

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// endpoint is what two Services on one address cannot both have.
type endpoint struct {
	protocol corev1.Protocol
	port     int32
}

func (e endpoint) String() string { return fmt.Sprintf("%d/%s", e.port, e.protocol) }

// shared gives every Service the node's own addresses, as long as their ports differ.
type shared struct {
	addresses []netip.Addr
	reserved  map[endpoint]string // what listens on the node's addresses itself
	holders   map[endpoint]string // by the key of the Service
}

// newShared: apiPort and dnsPort are those of this machine; the kubelet's is upstream's.
func newShared(addresses []netip.Addr, apiPort, dnsPort int) *shared {
	const kubelet = 10250
	return &shared{
		addresses: addresses,
		reserved: map[endpoint]string{
			{corev1.ProtocolTCP, int32(apiPort)}: "the Kubernetes API",
			{corev1.ProtocolTCP, kubelet}:        "the kubelet",
			{corev1.ProtocolTCP, int32(dnsPort)}: "DNS",
			{corev1.ProtocolUDP, int32(dnsPort)}: "DNS",
		},
		holders: map[endpoint]string{},
	}
}

func (s *shared) adopt(key string, svc *corev1.Service) {
	if len(svc.Status.LoadBalancer.Ingress) == 0 {
		return
	}
	if s.conflict(key, svc) == nil {
		s.hold(key, svc)
	}
}

// assign gives all ports or none.
func (s *shared) assign(key string, svc *corev1.Service) ([]netip.Addr, *refusal) {
	if refused := s.conflict(key, svc); refused != nil {
		return nil, refused
	}
	var addresses []netip.Addr
	for _, family := range svc.Spec.IPFamilies {
		for _, a := range s.addresses {
			if familyOf(a) == family {
				addresses = append(addresses, a)
			}
		}
	}
	if len(addresses) < len(svc.Spec.IPFamilies) {
		return nil, &refusal{reason: "NoAddressOfFamily", message: "the node has no IPv6 address: IPv6 is off on this machine"}
	}
	s.release(key)
	s.hold(key, svc)
	return addresses, s.foreignWish(svc)
}

func (s *shared) foreignWish(svc *corev1.Service) *refusal {
	text := svc.Spec.LoadBalancerIP //nolint:staticcheck // deprecated, and still what people have for this
	if text == "" {
		return nil
	}
	for _, a := range s.addresses {
		if a.String() == text {
			return nil
		}
	}
	return &refusal{reason: "AddressNotInPool", message: fmt.Sprintf("spec.loadBalancerIP %s is not an address of the node (%s): it is ignored", text, join(s.addresses))}
}

func (s *shared) conflict(key string, svc *corev1.Service) *refusal {
	for _, e := range endpoints(svc) {
		by := s.reserved[e]
		if holder := s.holders[e]; holder != "" && holder != key {
			by = "service " + holder
		}
		if by != "" {
			return &refusal{
				reason: "PortTaken", ports: true,
				message: fmt.Sprintf("port %s of the node's address (network.loadBalancerPool: node) belongs to %s: use another port", e, by),
			}
		}
	}
	return nil
}

func (s *shared) hold(key string, svc *corev1.Service) {
	for _, e := range endpoints(svc) {
		s.holders[e] = key
	}
}

func (s *shared) release(key string) bool { return release(s.holders, key) }

func endpoints(svc *corev1.Service) []endpoint {
	list := make([]endpoint, len(svc.Spec.Ports))
	for i, p := range svc.Spec.Ports {
		list[i] = endpoint{protocol: p.Protocol, port: p.Port}
	}
	return list
}
