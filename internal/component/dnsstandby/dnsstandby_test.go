package dnsstandby

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const example = `{"services":[
{"name":"web","namespace":"shop","clusterIPs":["10.43.0.7","fd42::7"],"ports":[{"name":"http","protocol":"TCP","port":80}]},
{"name":"db","namespace":"shop","clusterIPs":["None"],"endpoints":[{"addresses":[{"ip":"10.42.0.9","hostname":"db-0"}],"ports":[{"name":"pg","protocol":"TCP","port":5432}]}]},
{"name":"out","namespace":"shop","externalName":"example.org"}]}`

func TestAnswers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot.json")
	if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("10.42.0.1 host.docker.internal\n10.45.0.2 api.shop.docker.internal\nfd42::9 api.shop.docker.internal\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := newAnswerer(Options{SnapshotFile: file, HostsFile: hosts, ResolvConf: filepath.Join(t.TempDir(), "none")})
	for _, test := range []struct {
		name  string
		kind  uint16
		want  string // of the first record
		rcode int
	}{
		{"web.shop.svc.cluster.local.", dns.TypeA, "10.43.0.7", dns.RcodeSuccess},
		{"WEB.shop.svc.cluster.local.", dns.TypeAAAA, "fd42::7", dns.RcodeSuccess},
		{"_http._tcp.web.shop.svc.cluster.local.", dns.TypeSRV, "0 100 80 web.shop.svc.cluster.local.", dns.RcodeSuccess},
		{"7.0.43.10.in-addr.arpa.", dns.TypePTR, "web.shop.svc.cluster.local.", dns.RcodeSuccess},
		{"db.shop.svc.cluster.local.", dns.TypeA, "10.42.0.9", dns.RcodeSuccess},
		{"db-0.db.shop.svc.cluster.local.", dns.TypeA, "10.42.0.9", dns.RcodeSuccess},
		{"out.shop.svc.cluster.local.", dns.TypeA, "example.org.", dns.RcodeSuccess},
		{"db.shop.svc.cluster.local.", dns.TypeAAAA, "", dns.RcodeSuccess},
		{"shop.svc.cluster.local.", dns.TypeA, "", dns.RcodeSuccess},
		{"none.shop.svc.cluster.local.", dns.TypeA, "", dns.RcodeNameError},
		{"web.shop.svc.cluster.local.shop.svc.cluster.local.", dns.TypeA, "", dns.RcodeNameError},
		{"host.docker.internal.", dns.TypeA, "10.42.0.1", dns.RcodeSuccess},
		{"API.shop.docker.internal.", dns.TypeAAAA, "fd42::9", dns.RcodeSuccess},
		{"shop.docker.internal.", dns.TypeA, "", dns.RcodeSuccess},
		{"none.docker.internal.", dns.TypeA, "", dns.RcodeNameError},
		{"elsewhere.example.", dns.TypeA, "", dns.RcodeServerFailure},
	} {
		t.Run(test.name+dns.TypeToString[test.kind], func(t *testing.T) {
			reply := a.answer(t.Context(), new(dns.Msg).SetQuestion(test.name, test.kind))
			if reply.Rcode != test.rcode {
				t.Errorf("rcode %s, want %s", dns.RcodeToString[reply.Rcode], dns.RcodeToString[test.rcode])
			}
			got := ""
			if len(reply.Answer) > 0 {
				got = reply.Answer[0].String()[len(reply.Answer[0].Header().String()):]
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestTakesOver holds the point of the package: queries go to the other process while it lives, to us when
// it does not, and back to it when it returns, whoever came first.
func TestTakesOver(t *testing.T) {
	for _, first := range []string{"we", "the process"} {
		t.Run(first+" come first", func(t *testing.T) {
			dir := t.TempDir()
			address, port := freePort(t)
			file := filepath.Join(dir, "snapshot.json")
			if err := os.WriteFile(file, []byte(example), 0o600); err != nil {
				t.Fatal(err)
			}
			status := filepath.Join(dir, "status.sock")
			var other *process
			if first == "the process" {
				other = startProcess(t, status, address)
			}
			ctx, cancel := context.WithCancel(t.Context())
			c := New(Options{
				Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Port: port, SnapshotFile: file,
				StatusSocket: status, Logger: slog.New(slog.DiscardHandler),
			})
			ready, ended := make(chan struct{}), make(chan error, 1)
			go func() { ended <- c.Run(ctx, func() { close(ready) }) }()
			select {
			case <-ready:
			case err := <-ended:
				t.Fatal(err)
			}
			if other == nil {
				other = startProcess(t, status, address)
			}
			for range 3 {
				expect(t, address, "192.0.2.1") // the first query may be ours: it corrects the order
				other.stop(t)
				expect(t, address, "10.43.0.7")
				other = startProcess(t, status, address)
			}
			other.stop(t)
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// expect asks over UDP and TCP; the first answer of each may come from the wrong one of the two.
func expect(t *testing.T, address, want string) {
	t.Helper()
	for _, network := range []string{"udp", "tcp"} {
		got := ask(t, network, address)
		if got != want {
			got = ask(t, network, address)
		}
		for range 20 {
			if got != want {
				t.Fatalf("%s: %s answered, want %s", network, got, want)
			}
			got = ask(t, network, address)
		}
	}
}

func ask(t *testing.T, network, address string) string {
	t.Helper()
	client := dns.Client{Net: network, Timeout: 2 * time.Second}
	reply, _, err := client.Exchange(new(dns.Msg).SetQuestion("web.shop.svc.cluster.local.", dns.TypeA), address)
	if err != nil {
		t.Fatalf("%s: a lookup failed: %v", network, err)
	}
	return reply.Answer[0].(*dns.A).A.String()
}

// process stands for the dns process: it always answers 192.0.2.1.
type process struct {
	status  net.Listener
	servers []*dns.Server
}

func startProcess(t *testing.T, status, address string) *process {
	t.Helper()
	config := net.ListenConfig{Control: share}
	packets, err := config.ListenPacket(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	streams, err := config.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := new(dns.Msg).SetReply(query)
		reply.Answer = []dns.RR{&dns.A{Hdr: header(query.Question[0].Name, dns.TypeA), A: net.IPv4(192, 0, 2, 1)}}
		_ = w.WriteMsg(reply)
	})
	p := &process{servers: []*dns.Server{{PacketConn: packets, Handler: answer}, {Listener: streams, Handler: answer}}}
	for _, server := range p.servers {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }()
		<-started
	}
	if p.status, err = new(net.ListenConfig).Listen(t.Context(), "unix", status); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	_ = p.status.Close()
	for _, server := range p.servers {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
	}
}

func freePort(t *testing.T) (address string, port int) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	at := listener.Addr().(*net.TCPAddr)
	return at.String(), at.Port
}

// TestSnapshotFormat holds the fields to those that cluster/dns writes.
func TestSnapshotFormat(t *testing.T) {
	var s snapshot
	if err := json.Unmarshal([]byte(example), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Services) != 3 || s.Services[1].Endpoints[0].Addresses[0].Hostname != "db-0" {
		t.Errorf("read %+v", s)
	}
}
