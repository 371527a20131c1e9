package pki

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
)

// authority is a CA; its files are name.crt and name.key below Params.Dir.
type authority struct {
	name       string
	commonName string
}

const (
	clusterCA    = "ca"
	etcdCA       = "etcd/ca"
	frontProxyCA = "front-proxy-ca"
	imagesCA     = "images/ca"
)

func authorities() []authority {
	return []authority{
		{clusterCA, "boxyard-cluster-ca"},
		{etcdCA, "boxyard-etcd-ca"},
		{frontProxyCA, "boxyard-front-proxy-ca"},
		{imagesCA, "boxyard-images-ca"},
	}
}

// leaf is a certificate that a CA signs and that is renewed.
type leaf struct {
	name     string
	ca       string // name of its authority
	subject  pkix.Name
	usages   []x509.ExtKeyUsage
	dnsNames []string
	ips      []net.IP
}

// leaves is every leaf certificate of the instance. Names and subjects are those of kubeadm where it has them.
func leaves(p Params) []leaf {
	loopback := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	apiserver := server("apiserver", clusterCA, "kube-apiserver",
		[]string{
			"localhost", p.NodeName,
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}, loopback, p.NodeIPs, p.ServiceIPs)
	kubelet := server("kubelet", clusterCA, "system:node:"+p.NodeName, []string{p.NodeName}, p.NodeIPs)
	kubelet.subject.Organization = []string{"system:nodes"}
	// etcd's gateway dials its own listener with the serving certificate, so both need both usages.
	etcdServer := server("etcd/server", etcdCA, p.NodeName, []string{"localhost"}, loopback, p.NodeIPs)
	etcdPeer := server("etcd/peer", etcdCA, p.NodeName, []string{"localhost"}, loopback, p.NodeIPs)
	etcdServer.usages = append(etcdServer.usages, x509.ExtKeyUsageClientAuth)
	etcdPeer.usages = append(etcdPeer.usages, x509.ExtKeyUsageClientAuth)

	return []leaf{
		apiserver,
		kubelet,
		etcdServer,
		etcdPeer,
		server("images/server", imagesCA, "boxyard-images", []string{"localhost"}, loopback),

		// The kubelet asks the API whether this user may use its own API. system:masters makes that
		// hold before any ClusterRoleBinding exists.
		client("apiserver-kubelet-client", clusterCA, "kube-apiserver-kubelet-client", "system:masters"),
		client("apiserver-etcd-client", etcdCA, "kube-apiserver-etcd-client"),
		client("front-proxy-client", frontProxyCA, "front-proxy-client"),
		client("kubelet-client", clusterCA, "system:node:"+p.NodeName, "system:nodes"),
		client("controller-manager", clusterCA, "system:kube-controller-manager"),
		client("scheduler", clusterCA, "system:kube-scheduler"),
		client("kube-proxy", clusterCA, "system:kube-proxy"),
		client("dns", clusterCA, "boxyard:dns"),
		client("controllers", clusterCA, "boxyard:controllers"),
		client("admin", clusterCA, "boxyard:admin", "system:masters"),
		client("images/client", imagesCA, "boxyard:images"),
	}
}

// kubeconfigs are the leaves that have a NAME.kubeconfig beside them.
func kubeconfigs() []string {
	return []string{"kubelet-client", "controller-manager", "scheduler", "kube-proxy", "dns", "controllers"}
}

func server(name, ca, commonName string, dnsNames []string, ips ...[]net.IP) leaf {
	l := leaf{
		name:    name,
		ca:      ca,
		subject: pkix.Name{CommonName: commonName},
		usages:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	seen := map[string]bool{"": true}
	for _, n := range dnsNames {
		if !seen[n] {
			seen[n] = true
			l.dnsNames = append(l.dnsNames, n)
		}
	}
	for _, group := range ips {
		for _, ip := range group {
			if ip != nil && !seen[ip.String()] {
				seen[ip.String()] = true
				l.ips = append(l.ips, ip)
			}
		}
	}
	return l
}

func client(name, ca, commonName string, organizations ...string) leaf {
	return leaf{
		name:    name,
		ca:      ca,
		subject: pkix.Name{CommonName: commonName, Organization: organizations},
		usages:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}
