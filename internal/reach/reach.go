package reach

import (
	"net"
	"strconv"
)

// Kind is what a way leads through.
type Kind string

// The kinds, as `boxyard url -o json` has them.
const (
	FrontDoor    Kind = "frontDoor"
	ClusterIP    Kind = "clusterIP"
	NodePort     Kind = "nodePort"
	LoadBalancer Kind = "loadBalancer"
	Pod          Kind = "pod"
	ExternalName Kind = "externalName"
	Container    Kind = "container"
	Published    Kind = "published"
)

// Way is one address that reaches a thing now.
type Way struct {
	Kind Kind `json:"kind"`
	// URL is host:port/udp for what is not TCP.
	URL string `json:"url"`
	// Address and Host are set for names under .localhost, for clients that do not know that these are
	// loopback: connect to Address, and send Host as the header of that name.
	Address string `json:"address,omitempty"`
	Host    string `json:"host,omitempty"`
}

// Suffix ends every name that the front door serves (RFC 6761, 6.3: such names are loopback).
const Suffix = ".localhost"

// ThroughDoor is the way through the front door on this port. The name is without the suffix.
func ThroughDoor(name string, port int) Way {
	host := name + Suffix
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if port != 80 {
		host = net.JoinHostPort(host, strconv.Itoa(port))
	}
	return Way{Kind: FrontDoor, URL: "http://" + host, Address: address, Host: host}
}

// URLs are those of ways, in their order, each once.
func URLs(ways []Way) []string {
	urls := make([]string, 0, len(ways))
	seen := make(map[string]bool, len(ways))
	for _, w := range ways {
		if !seen[w.URL] {
			urls = append(urls, w.URL)
		}
		seen[w.URL] = true
	}
	return urls
}
