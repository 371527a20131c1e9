package dnsstandby

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// snapshot is what the dns process wrote (cluster/dns/snapshot.go).
type snapshot struct {
	Services []service `json:"services"`
}

type service struct {
	Name         string     `json:"name"`
	Namespace    string     `json:"namespace"`
	ClusterIPs   []string   `json:"clusterIPs"`
	ExternalName string     `json:"externalName"`
	Ports        []port     `json:"ports"`
	Endpoints    []endpoint `json:"endpoints"`
}

type port struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
}

type endpoint struct {
	Addresses []struct {
		IP       string `json:"ip"`
		Hostname string `json:"hostname"`
	} `json:"addresses"`
	Ports []port `json:"ports"`
}

const clusterZone = "cluster.local."

// names has the records by owner name, and every name that has any record at or below it: a name of
// the second kind exists and must not be answered with NXDOMAIN.
type names struct {
	zone    string // all but reverse names are in it
	records map[string][]dns.RR
	exists  map[string]bool
}

func newNames(zone string) *names {
	return &names{zone: zone, records: make(map[string][]dns.RR), exists: map[string]bool{zone: true}}
}

// index turns a snapshot into records, as Kubernetes' DNS specification has them.
func index(s snapshot) *names {
	n := newNames(clusterZone)
	for _, svc := range s.Services {
		owner := fmt.Sprintf("%s.%s.svc.%s", svc.Name, svc.Namespace, n.zone)
		if svc.ExternalName != "" {
			n.add(&dns.CNAME{Hdr: header(owner, dns.TypeCNAME), Target: dns.Fqdn(svc.ExternalName)})
			continue
		}
		for _, ip := range svc.ClusterIPs {
			n.addAddress(owner, ip)
			n.addReverse(ip, owner)
			n.addPorts(owner, owner, svc.Ports)
		}
		for _, e := range svc.Endpoints {
			for _, a := range e.Addresses {
				host := a.Hostname
				if host == "" {
					host = strings.NewReplacer(".", "-", ":", "-").Replace(a.IP)
				}
				target := host + "." + owner
				n.addAddress(owner, a.IP)
				n.addAddress(target, a.IP)
				n.addReverse(a.IP, target)
				n.addPorts(owner, target, e.Ports)
			}
		}
	}
	return n
}

func (n *names) add(record dns.RR) {
	owner := record.Header().Name
	n.records[owner] = append(n.records[owner], record)
	for at, end := 0, false; !end; at, end = dns.NextLabel(owner, at) {
		n.exists[owner[at:]] = true
	}
}

func (n *names) addAddress(owner, text string) {
	ip, err := netip.ParseAddr(text)
	switch {
	case err != nil: // "None" of a headless Service
	case ip.Is4():
		n.add(&dns.A{Hdr: header(owner, dns.TypeA), A: ip.AsSlice()})
	default:
		n.add(&dns.AAAA{Hdr: header(owner, dns.TypeAAAA), AAAA: ip.AsSlice()})
	}
}

func (n *names) addReverse(text, target string) {
	if owner, err := dns.ReverseAddr(text); err == nil {
		n.add(&dns.PTR{Hdr: header(owner, dns.TypePTR), Ptr: target})
	}
}

func (n *names) addPorts(owner, target string, ports []port) {
	for _, p := range ports {
		if p.Name == "" {
			continue
		}
		srv := fmt.Sprintf("_%s._%s.%s", p.Name, strings.ToLower(p.Protocol), owner)
		n.add(&dns.SRV{Hdr: header(srv, dns.TypeSRV), Weight: 100, Port: p.Port, Target: target})
	}
}

// ttl, in seconds, is short: the dns process knows better as soon as it is back.
const ttl = 5

func header(owner string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: strings.ToLower(owner), Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

func parseSnapshot(data []byte) (*names, error) {
	var s snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, err
	}
	return index(s), nil
}
