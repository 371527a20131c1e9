package service

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/boxyard/boxyard/internal/reach"
)

// Addresses is where a Service answers.
type Addresses struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	// URLs are those of Ways, for those who want no more.
	URLs []string `json:"urls"`
	// Ways reach it from this host: the most lasting first, the front door behind the cluster's own address.
	Ways []reach.Way `json:"ways"`
	// Ready is how many endpoints take traffic.
	Ready int `json:"ready"`
	// Note says what a person should know: that nothing answers, or why there is no address.
	Note string `json:"note,omitempty"`
}

// resolve is the whole decision. nodes are the nodes' addresses, doorPort is the front door's; 0: it is closed.
func resolve(namespace string, svc object, slices []slice, nodes []string, doorPort int) Addresses {
	a := Addresses{Namespace: namespace, Name: svc.Metadata.Name, Type: svc.Spec.Type}
	if svc.Spec.Type == "ExternalName" {
		a.Note = fmt.Sprintf("%s stands for the name %s outside the cluster", a.title(), svc.Spec.ExternalName)
		return a.with(external(svc.Spec))
	}
	a.Ready = readyCount(slices)
	ways := clusterWays(svc.Spec)
	if svc.Spec.ClusterIP == "None" {
		ways = podWays(svc.Spec, slices)
	}
	if _, ok := svc.Spec.http(); ok && doorPort != 0 {
		ways = append(ways, reach.ThroughDoor(a.Name+"."+namespace, doorPort))
	}
	ways = append(ways, nodeWays(svc.Spec, nodes)...)
	ways = append(ways, balancerWays(svc)...)
	if a.Ready == 0 {
		a.Note = fmt.Sprintf("%s has no ready endpoints: nothing answers there now; see: kubectl -n %s get pods", a.title(), namespace)
	}
	return a.with(ways)
}

func (a Addresses) with(ways []reach.Way) Addresses {
	a.Ways = append([]reach.Way{}, ways...)
	a.URLs = reach.URLs(ways)
	return a
}

func (a Addresses) title() string { return "service " + a.Namespace + "/" + a.Name }

func external(s spec) []reach.Way {
	var ways []reach.Way
	for _, p := range s.Ports {
		ways = append(ways, reach.Way{Kind: reach.ExternalName, URL: locate(s.ExternalName, p.Port, p)})
	}
	if len(ways) == 0 {
		ways = append(ways, reach.Way{Kind: reach.ExternalName, URL: s.ExternalName})
	}
	return ways
}

// addresses are the cluster's own, of one family or of both.
func (s spec) addresses() []string {
	if len(s.ClusterIPs) == 0 && s.ClusterIP != "" {
		return []string{s.ClusterIP}
	}
	return s.ClusterIPs
}

// clusterWays do not change when pods do. The port that people mean comes first.
func clusterWays(s spec) []reach.Way {
	ports := slices.Clone(s.Ports)
	if first, ok := s.http(); ok {
		i := slices.Index(ports, first)
		ports = slices.Insert(slices.Delete(ports, i, i+1), 0, first)
	}
	var ways []reach.Way
	for _, ip := range s.addresses() {
		for _, p := range ports {
			ways = append(ways, reach.Way{Kind: reach.ClusterIP, URL: locate(ip, p.Port, p)})
		}
	}
	return ways
}

// nodeWays: node ports answer on loopback too (cluster/nodeport), all but those of SCTP.
func nodeWays(s spec, nodes []string) []reach.Way {
	var ways []reach.Way
	for _, node := range slices.Concat([]string{"127.0.0.1", "::1"}, nodes) {
		// A Service of one family has no node port in the other.
		if !slices.ContainsFunc(s.addresses(), func(ip string) bool { return isV4(ip) == isV4(node) }) {
			continue
		}
		for _, p := range s.Ports {
			if p.NodePort != 0 && (!net.ParseIP(node).IsLoopback() || p.Protocol != "SCTP") {
				ways = append(ways, reach.Way{Kind: reach.NodePort, URL: locate(node, p.NodePort, p)})
			}
		}
	}
	return ways
}

func balancerWays(svc object) []reach.Way {
	var ways []reach.Way
	for _, in := range svc.Status.LoadBalancer.Ingress {
		for _, p := range svc.Spec.Ports {
			ways = append(ways, reach.Way{Kind: reach.LoadBalancer, URL: locate(in.IP+in.Hostname, p.Port, p)})
		}
	}
	return ways
}

// podWays are those of a headless Service, whose names resolve to pods.
func podWays(s spec, all []slice) []reach.Way {
	var ways []reach.Way
	for _, sl := range all {
		for _, ip := range sl.ready() {
			for _, p := range sl.Ports {
				ways = append(ways, reach.Way{Kind: reach.Pod, URL: locate(ip, p.Port, named(s, p))})
			}
		}
	}
	slices.SortFunc(ways, func(a, b reach.Way) int { return strings.Compare(a.URL, b.URL) })
	return slices.Compact(ways)
}

// named gives a slice's port what the Service says about it.
func named(s spec, p port) port {
	for _, candidate := range s.Ports {
		if candidate.Name == p.Name {
			return candidate
		}
	}
	return p
}

func isV4(ip string) bool { return net.ParseIP(ip).To4() != nil }

// ready are the addresses of the endpoints that take traffic.
func (sl slice) ready() []string {
	var ips []string
	for _, e := range sl.Endpoints {
		if e.Conditions.Ready == nil || *e.Conditions.Ready {
			ips = append(ips, e.Addresses...)
		}
	}
	return ips
}

func readyCount(all []slice) int {
	ready := map[string]bool{} // a dual-stack pod is in two slices
	n4, n6 := 0, 0
	for _, sl := range all {
		for _, ip := range sl.ready() {
			if ready[ip] {
				continue
			}
			ready[ip] = true
			if isV4(ip) {
				n4++
			} else {
				n6++
			}
		}
	}
	return max(n4, n6)
}

// locate is a URL, or host:port/udp for what has none.
func locate(host string, number int, p port) string {
	address := net.JoinHostPort(host, strconv.Itoa(number))
	switch p.Protocol {
	case "UDP":
		return address + "/udp"
	case "SCTP":
		return address + "/sctp"
	}
	if p.tls() {
		return "https://" + address
	}
	return "http://" + address
}
