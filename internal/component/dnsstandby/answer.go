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

// answerer answers for the cluster's names from the snapshot and asks the host's resolvers for all others.
type answerer struct {
	snapshot   *snapshotFile
	resolvConf string
	own        []netip.Addr // never forwarded to
}

func (a *answerer) answer(ctx context.Context, query *dns.Msg) *dns.Msg {
	if len(query.Question) != 1 {
		return new(dns.Msg).SetRcode(query, dns.RcodeFormatError)
	}
	question := query.Question[0]
	name := strings.ToLower(question.Name)
	known := a.snapshot.current()
	if !dns.IsSubDomain(zone, name) && len(known.records[name]) == 0 {
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
		Hdr: header(zone, dns.TypeSOA), Ns: "ns.dns." + zone, Mbox: "hostmaster." + zone,
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
