//go:build integration

package integration

import (
	"net"

	"github.com/miekg/dns"
)

// nameServer answers every question for an IPv4 address with the same one.
func (b box) nameServer(addr string, answer [4]byte) net.PacketConn {
	b.t.Helper()
	var conn net.PacketConn
	err := b.Inside(func() error {
		var err error
		conn, err = new(net.ListenConfig).ListenPacket(b.t.Context(), "udp", addr)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(q)
		if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
			reply.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
				A:   net.IP(answer[:]),
			}}
		}
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = server.ActivateAndServe() }()
	return conn
}
