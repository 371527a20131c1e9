package bootstrap

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

const (
	dnsService   = "kube-dns" // the name that upstream's tools and charts look for
	dnsNamespace = metav1.NamespaceSystem
	ourLabel     = "app.kubernetes.io/managed-by"
	ourName      = "boxyard"
)

// readOnly is what an informer does.
func readOnly() []string { return []string{"list", "watch"} }

// clusterRoles are the rights of our two clients that are not part of Kubernetes, and no more, and those to see the
// resource metrics.
func clusterRoles() []*rbacv1.ClusterRole {
	return []*rbacv1.ClusterRole{
		{
			ObjectMeta: named("boxyard:dns"),
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"services", "namespaces"}, Verbs: readOnly()},
				{APIGroups: []string{discoveryv1.GroupName}, Resources: []string{"endpointslices"}, Verbs: readOnly()},
			},
		},
		{
			ObjectMeta: named("boxyard:controllers"),
			Rules: []rbacv1.PolicyRule{
				{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: readOnly()},
				{APIGroups: []string{""}, Resources: []string{"services/status"}, Verbs: []string{"patch"}},
				{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
				{APIGroups: []string{networkingv1.GroupName}, Resources: []string{"networkpolicies"}, Verbs: readOnly()},
				{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets", "replicasets"}, Verbs: readOnly()},
				{APIGroups: []string{"batch"}, Resources: []string{"jobs", "cronjobs"}, Verbs: readOnly()},
				// For load balancers and node ports, and for the front door, which is in the daemon and has this identity too.
				{APIGroups: []string{""}, Resources: []string{"services"}, Verbs: readOnly()},
				{APIGroups: []string{discoveryv1.GroupName}, Resources: []string{"endpointslices"}, Verbs: readOnly()},
				// The volumes.
				{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: readOnly()},
				{APIGroups: []string{""}, Resources: []string{"persistentvolumes"}, Verbs: append(readOnly(), "create", "delete", "patch")},
				{APIGroups: []string{storagev1.GroupName}, Resources: []string{"storageclasses"}, Verbs: readOnly()},
				{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
				// The resource metrics, which come from the kubelets.
				{APIGroups: []string{""}, Resources: []string{"nodes/metrics"}, Verbs: []string{"get"}},
			},
		},
		metricsReader(),
	}
}

// clusterRoleBindings bind each role to the user of the same name, and the kubelet's API to the user that the
// API server's client certificate names. The last is implied while that certificate is in system:masters.
func clusterRoleBindings() []*rbacv1.ClusterRoleBinding {
	return []*rbacv1.ClusterRoleBinding{
		binding("boxyard:dns", "boxyard:dns", "boxyard:dns"),
		binding("boxyard:controllers", "boxyard:controllers", "boxyard:controllers"),
		binding("boxyard:kube-apiserver-kubelet-client", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
	}
}

func binding(name, role, user string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: named(name),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
}

// dnsServiceObject has no selector: its endpoints are those of the process dns, which is not a pod.
func dnsServiceObject(c config.Cluster) *corev1.Service {
	meta := named(dnsService)
	meta.Namespace = dnsNamespace
	meta.Labels["k8s-app"] = dnsService
	meta.Labels["kubernetes.io/cluster-service"] = "true"
	meta.Labels["kubernetes.io/name"] = "CoreDNS"
	policy := corev1.IPFamilyPolicySingleStack
	if len(c.ClusterDNS) > 1 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	service := &corev1.Service{
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type:           corev1.ServiceTypeClusterIP,
			ClusterIP:      c.ClusterDNS[0],
			ClusterIPs:     c.ClusterDNS,
			IPFamilyPolicy: &policy,
			Ports: []corev1.ServicePort{
				{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53, TargetPort: intstr.FromInt(c.DNSPort)},
				{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 53, TargetPort: intstr.FromInt(c.DNSPort)},
			},
		},
	}
	for _, ip := range c.ClusterDNS {
		service.Spec.IPFamilies = append(service.Spec.IPFamilies, family(ip))
	}
	return service
}

// dnsEndpointSlices holds one slice for each family of the Service, with the node's address of that family.
func dnsEndpointSlices(c config.Cluster) []*discoveryv1.EndpointSlice {
	var slices []*discoveryv1.EndpointSlice
	for _, ip := range c.ClusterDNS {
		for _, node := range c.NodeIPs {
			if family(node) == family(ip) {
				slices = append(slices, dnsEndpointSlice(c, node))
			}
		}
	}
	return slices
}

func dnsEndpointSlice(c config.Cluster, address string) *discoveryv1.EndpointSlice {
	meta := named(dnsService + "-boxyard-" + map[corev1.IPFamily]string{corev1.IPv4Protocol: "ipv4", corev1.IPv6Protocol: "ipv6"}[family(address)])
	meta.Namespace = dnsNamespace
	meta.Labels[discoveryv1.LabelServiceName] = dnsService
	meta.Labels[discoveryv1.LabelManagedBy] = ourName
	port := int32(c.DNSPort) // checked when it was decoded
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  meta,
		AddressType: discoveryv1.AddressType(family(address)),
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{address},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
			NodeName:   new(c.NodeName),
		}},
		Ports: []discoveryv1.EndpointPort{
			{Name: new("dns"), Protocol: new(corev1.ProtocolUDP), Port: &port},
			{Name: new("dns-tcp"), Protocol: new(corev1.ProtocolTCP), Port: &port},
		},
	}
}

// defaultAccount is the one that a pod needs to be admitted. Its controller makes it too, a moment after all else
// is ready: who types `kubectl run` as soon as `up` returns would be refused.
func defaultAccount() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: metav1.NamespaceDefault}}
}

func family(ip string) corev1.IPFamily {
	if address, err := netip.ParseAddr(ip); err == nil && address.Is6() {
		return corev1.IPv6Protocol
	}
	return corev1.IPv4Protocol
}

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{ourLabel: ourName}}
}
