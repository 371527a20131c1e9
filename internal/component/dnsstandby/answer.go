package dnsstandby

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// answerer answers for the cluster's names and those under docker.internal from files, and asks the host's resolvers
// for all others.
type answerer struct {
	cluster, hosts *file
	resolvConf     string
	own            []netip.Addr // never forwarded to
}

func newAnswerer(o Options) *answerer {
	return &answerer{
		cluster:    &file{path: o.SnapshotFile, parse: parseSnapshot, empty: newNames(clusterZone)},
		hosts:      &file{path: o.HostsFile, parse: parseHosts, empty: newNames(hostsZone)},
		resolvConf: o.ResolvConf, own: o.Listen,
	}
}

func (a *answerer) answer(ctx context.Context, query *dns.Msg) *dns.Msg {
	if len(query.Question) != 1 {
		return new(dns.Msg).SetRcode(query, dns.RcodeFormatError)
	}
	question := query.Question[0]
	name := strings.ToLower(question.Name)
	known := a.cluster.current()
	if dns.IsSubDomain(hostsZone, name) {
		known = a.hosts.current()
	}
	if !dns.IsSubDomain(known.zone, name) && len(known.records[name]) == 0 {
		return a.forward(ctx, query)
	}
	reply := new(dns.Msg).SetReply(query)
	reply.Authoritative = true
	for _, record := range known.records[name] {
		kind := record.Header().Rrtype
		if kind != question.Qtype && kind != dns.TypeCNAME && question.Qtype != dns.TypeANY {
			continue
		}
		copied := dns.Copy(record)
		copied.Header().Name = question.Name // with the letters' case of the question
		reply.Answer = append(reply.Answer, copied)
	}
	if len(reply.Answer) > 0 {
		return reply
	}
	if !known.exists[name] {
		reply.Rcode = dns.RcodeNameError
	}
	reply.Ns = []dns.RR{&dns.SOA{
		Hdr: header(known.zone, dns.TypeSOA), Ns: "ns.dns." + known.zone, Mbox: "hostmaster." + known.zone,
		Serial: uint32(time.Now().Unix()), Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}}
	return reply
}

// forward asks one resolver after the other.
func (a *answerer) forward(ctx context.Context, query *dns.Msg) *dns.Msg {
	config, err := dns.ClientConfigFromFile(a.resolvConf)
	if err != nil {
		return new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
	}
	client := dns.Client{Timeout: 2 * time.Second}
	for _, server := range config.Servers {
		if ip, err := netip.ParseAddr(server); err == nil && slices.Contains(a.own, ip) {
			continue
		}
		reply, _, err := client.ExchangeContext(ctx, query, net.JoinHostPort(server, config.Port))
		if err == nil {
			return reply
		}
	}
	return new(dns.Msg).SetRcode(query, dns.RcodeServerFailure)
}
