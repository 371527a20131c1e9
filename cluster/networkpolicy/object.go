package networkpolicy

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod is what stays of a Pod in memory.
type pod struct {
	metav1.ObjectMeta
	addresses []netip.Addr // as the kubelet reports them
	ports     []namedPort
	// apart: it has no address of its own, or none any more. An address of a pod that has
	// ended may belong to another by now.
	apart bool
}

type namedPort struct {
	name     string
	protocol corev1.Protocol
	port     uint16
}

// namespace is what stays of a Namespace in memory.
type namespace struct {
	metav1.ObjectMeta
}

// trim is a cache.TransformFunc.
func trim(object any) (any, error) {
	switch o := object.(type) {
	case *corev1.Pod:
		return newPod(o), nil
	case *corev1.Namespace:
		return &namespace{ObjectMeta: trimMeta(&o.ObjectMeta)}, nil
	case *networkingv1.NetworkPolicy:
		o.ManagedFields, o.Annotations = nil, nil
		return o, nil
	default:
		return object, nil // already trimmed, or a tombstone
	}
}

func trimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, Labels: m.Labels,
	}
}

func newPod(o *corev1.Pod) *pod {
	p := &pod{
		ObjectMeta: trimMeta(&o.ObjectMeta),
		apart:      o.Spec.HostNetwork || o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed,
	}
	for _, ip := range o.Status.PodIPs {
		p.addresses = appendAddress(p.addresses, ip.IP)
	}
	if len(p.addresses) == 0 {
		p.addresses = appendAddress(p.addresses, o.Status.PodIP)
	}
	for _, containers := range [][]corev1.Container{o.Spec.InitContainers, o.Spec.Containers} {
		for i := range containers {
			p.addPorts(containers[i].Ports)
		}
	}
	return p
}

func (p *pod) addPorts(ports []corev1.ContainerPort) {
	for _, port := range ports {
		if port.Name == "" || port.ContainerPort < 1 || port.ContainerPort > maxPort {
			continue
		}
		n := namedPort{name: port.Name, protocol: port.Protocol, port: uint16(port.ContainerPort)}
		if n.protocol == "" {
			n.protocol = corev1.ProtocolTCP
		}
		p.ports = append(p.ports, n)
	}
}

func appendAddress(list []netip.Addr, text string) []netip.Addr {
	address, err := netip.ParseAddr(text)
	if err != nil {
		return list
	}
	return append(list, address.Unmap())
}

// same tells whether a change is one that no rule depends on. Most changes of pods are.
func same(before, after any) bool {
	switch a := after.(type) {
	case *pod:
		b, ok := before.(*pod)
		return ok && a.UID == b.UID && a.apart == b.apart && slices.Equal(a.addresses, b.addresses) &&
			slices.Equal(a.ports, b.ports) && maps.Equal(a.Labels, b.Labels)
	case *namespace:
		b, ok := before.(*namespace)
		return ok && maps.Equal(a.Labels, b.Labels)
	case *networkingv1.NetworkPolicy:
		b, ok := before.(*networkingv1.NetworkPolicy)
		return ok && a.UID == b.UID && a.Generation == b.Generation
	default:
		return false
	}
}
