package service

import (
	"fmt"
	"net"
	"slices"
	"strconv"
)

// Addresses is where a Service answers.
type Addresses struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	// URLs reach it from this host, the most lasting first. UDP and SCTP ports are host:port/udp.
	URLs []string `json:"urls"`
	// Ready is how many endpoints take traffic.
	Ready int `json:"ready"`
	// Note says what a person should know: that nothing answers, or why there is no address.
	Note string `json:"note,omitempty"`
}

// The fields of the API's objects that are looked at.
type (
	object struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec   spec   `json:"spec"`
		Status status `json:"status"`
	}
	spec struct {
		Type         string   `json:"type"`
		ClusterIP    string   `json:"clusterIP"`
		ClusterIPs   []string `json:"clusterIPs"`
		ExternalName string   `json:"externalName"`
		Ports        []port   `json:"ports"`
	}
	status struct {
		LoadBalancer struct {
			Ingress []struct {
				IP       string `json:"ip"`
				Hostname string `json:"hostname"`
			} `json:"ingress"`
		} `json:"loadBalancer"`
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	}
	port struct {
		Name        string `json:"name"`
		Protocol    string `json:"protocol"`
		AppProtocol string `json:"appProtocol"`
		Port        int    `json:"port"`
		NodePort    int    `json:"nodePort"`
	}
	slice struct {
		Endpoints []struct {
			Addresses  []string `json:"addresses"`
			Conditions struct {
				Ready *bool `json:"ready"`
			} `json:"conditions"`
		} `json:"endpoints"`
		Ports []port `json:"ports"`
	}
)

// resolve is the whole decision. nodes are the nodes' addresses.
func resolve(namespace string, svc object, slices []slice, nodes []string) Addresses {
	a := Addresses{Namespace: namespace, Name: svc.Metadata.Name, Type: svc.Spec.Type, URLs: []string{}}
	if svc.Spec.Type == "ExternalName" {
		a.Note = fmt.Sprintf("%s stands for the name %s outside the cluster", a.title(), svc.Spec.ExternalName)
		a.URLs = external(svc.Spec)
		return a
	}
	pods := podURLs(svc.Spec, slices)
	a.Ready = readyCount(slices)
	if svc.Spec.ClusterIP == "None" {
		a.URLs = append(a.URLs, pods...)
	} else {
		a.URLs = append(a.URLs, stableURLs(svc, nodes)...)
	}
	if a.Ready == 0 {
		a.Note = fmt.Sprintf("%s has no ready endpoints: nothing answers there now; see: kubectl -n %s get pods", a.title(), namespace)
	}
	return a
}

func (a Addresses) title() string { return "service " + a.Namespace + "/" + a.Name }

func external(s spec) []string {
	urls := []string{}
	for _, p := range s.Ports {
		urls = append(urls, locate(s.ExternalName, p.Port, p))
	}
	if len(urls) == 0 {
		urls = append(urls, s.ExternalName)
	}
	return urls
}

// stableURLs do not change when pods do: the cluster's own addresses, then those of its nodes, then of load balancers.
func stableURLs(svc object, nodes []string) []string {
	ips := svc.Spec.ClusterIPs
	if len(ips) == 0 && svc.Spec.ClusterIP != "" {
		ips = []string{svc.Spec.ClusterIP}
	}
	var urls []string
	for _, ip := range ips {
		for _, p := range svc.Spec.Ports {
			urls = append(urls, locate(ip, p.Port, p))
		}
	}
	for _, node := range nodes {
		// A Service of one family has no node port in the other.
		if !slices.ContainsFunc(ips, func(ip string) bool { return isV4(ip) == isV4(node) }) {
			continue
		}
		for _, p := range svc.Spec.Ports {
			if p.NodePort != 0 {
				urls = append(urls, locate(node, p.NodePort, p))
			}
		}
	}
	for _, in := range svc.Status.LoadBalancer.Ingress {
		for _, p := range svc.Spec.Ports {
			urls = append(urls, locate(in.IP+in.Hostname, p.Port, p))
		}
	}
	return slices.Compact(urls)
}

// podURLs are those of a headless Service, whose names resolve to pods.
func podURLs(s spec, all []slice) []string {
	var urls []string
	for _, sl := range all {
		for _, e := range sl.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, ip := range e.Addresses {
				for _, p := range sl.Ports {
					urls = append(urls, locate(ip, p.Port, named(s, p)))
				}
			}
		}
	}
	slices.Sort(urls)
	return slices.Compact(urls)
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

func readyCount(all []slice) int {
	ready := map[string]bool{} // a dual-stack pod is in two slices
	n4, n6 := 0, 0
	for _, sl := range all {
		for _, e := range sl.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			for _, ip := range e.Addresses {
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
	}
	return max(n4, n6)
}

// locate guesses the scheme as browsers and meshes do: by appProtocol, by the port's name, by its number.
func locate(host string, number int, p port) string {
	address := net.JoinHostPort(host, strconv.Itoa(number))
	switch p.Protocol {
	case "UDP":
		return address + "/udp"
	case "SCTP":
		return address + "/sctp"
	}
	if p.AppProtocol == "https" || p.Name == "https" || p.Port == 443 {
		return "https://" + address
	}
	return "http://" + address
}
