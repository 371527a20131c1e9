package dns

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/plugin"
	"github.com/coredns/coredns/plugin/kubernetes"
	"github.com/coredns/coredns/plugin/pkg/dnstest"
	"github.com/coredns/coredns/plugin/test"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/boxyard/boxyard/cluster/internal/golden"
)

const root = "../.."

func TestCorefilesAreGolden(t *testing.T) {
	c := golden.DNS(t, root)
	golden.Equal(t, "Corefile", corefile(c, []string{"192.0.2.1", "fe80::1%eth0"}))
	golden.Equal(t, "Corefile.alone", corefile(c, nil))
}

func TestUpstreams(t *testing.T) {
	tests := map[string]struct {
		host string
		want []string
	}{
		"empty":      {"", nil},
		"two":        {"nameserver 192.0.2.1\nnameserver 2001:db8::1\n", []string{"192.0.2.1", "2001:db8::1"}},
		"ourselves":  {"nameserver 10.42.0.1\nnameserver ::ffff:10.42.0.1\nnameserver 192.0.2.1\n", []string{"192.0.2.1"}},
		"twice":      {"nameserver 192.0.2.1\nnameserver 192.0.2.1\n", []string{"192.0.2.1"}},
		"a local":    {"nameserver 127.0.0.53\n", []string{"127.0.0.53"}},
		"no address": {"nameserver here\nnameserver 0.0.0.0\n", nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "resolv.conf")
			if err := os.WriteFile(file, []byte(test.host), 0o600); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(test.want, upstreams(file, []string{"10.42.0.1"})); d != "" {
				t.Error(d)
			}
		})
	}
	if got := upstreams(filepath.Join(t.TempDir(), "missing"), nil); got != nil {
		t.Errorf("of a missing file: %v", got)
	}
}

// objectsForTest stands for the informers.
func objectsForTest() *saved {
	s := index(snapshot{Services: []service{
		{Name: "web", Namespace: "shop", Type: "ClusterIP", ClusterIPs: []string{"10.43.0.20", "fd42::20"}, Ports: []port{{Name: "http", Protocol: "TCP", Port: 80}}},
		{Name: "db", Namespace: "shop", Type: "ClusterIP", ClusterIPs: []string{"None"}, Ports: []port{{Name: "sql", Protocol: "TCP", Port: 5432}}, Endpoints: []endpoint{
			{Addresses: []address{{IP: "10.42.0.7", Hostname: "db-0"}, {IP: "10.42.0.8"}}, Ports: []port{{Name: "sql", Protocol: "TCP", Port: 5432}}},
		}},
		{Name: "away", Namespace: "shop", Type: "ExternalName", ExternalName: "example.com"},
	}})
	return s
}

func TestSnapshotSurvivesARestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dns", "snapshot.json")
	want := take(objectsForTest())
	if err := save(file, want); err != nil {
		t.Fatal(err)
	}
	loaded, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, take(loaded)); d != "" {
		t.Error(d)
	}
	golden.Equal(t, "snapshot.json", content(t, file))
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "snapshot.json")
	if s, err := load(file); s != nil || err != nil {
		t.Errorf("of a missing file: %v, %v", s, err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load(file); err == nil {
		t.Error("a torn file is taken")
	}
}

// away is a controller whose API cannot be reached.
type away struct{ *saved }

func (away) HasSynced() bool { return false }

func TestNamesBeforeTheAPIAnswers(t *testing.T) {
	withSnapshot := &source{live: away{index(snapshot{})}, saved: objectsForTest()}
	without := &source{live: away{index(snapshot{})}}
	live := &source{live: objectsForTest(), saved: index(snapshot{})}
	tests := map[string]struct {
		source *source
		name   string
		typ    uint16
		code   int
		want   []string
	}{
		"cluster IP":        {withSnapshot, "web.shop.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.43.0.20"}},
		"second family":     {withSnapshot, "web.shop.svc.cluster.local.", dns.TypeAAAA, dns.RcodeSuccess, []string{"fd42::20"}},
		"headless":          {withSnapshot, "db.shop.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.42.0.7", "10.42.0.8"}},
		"a host":            {withSnapshot, "db-0.db.shop.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.42.0.7"}},
		"a service port":    {withSnapshot, "_sql._tcp.db.shop.svc.cluster.local.", dns.TypeSRV, dns.RcodeSuccess, []string{"10-42-0-8.db.shop.svc.cluster.local.", "db-0.db.shop.svc.cluster.local."}},
		"an address":        {withSnapshot, "20.0.43.10.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, []string{"web.shop.svc.cluster.local."}},
		"an unknown name":   {withSnapshot, "nobody.shop.svc.cluster.local.", dns.TypeA, dns.RcodeNameError, nil},
		"nothing known yet": {without, "web.shop.svc.cluster.local.", dns.TypeA, dns.RcodeServerFailure, nil},
		"after the API":     {live, "web.shop.svc.cluster.local.", dns.TypeA, dns.RcodeSuccess, []string{"10.43.0.20"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			k := parse(t)
			k.APIConn = tc.source
			recorder := dnstest.NewRecorder(&test.ResponseWriter{})
			code, err := k.ServeDNS(t.Context(), recorder, new(dns.Msg).SetQuestion(tc.name, tc.typ))
			if err != nil {
				t.Fatal(err)
			}
			if recorder.Msg != nil {
				code = recorder.Msg.Rcode
			}
			if code != tc.code {
				t.Errorf("code %s, want %s", dns.RcodeToString[code], dns.RcodeToString[tc.code])
			}
			if d := cmp.Diff(tc.want, answers(recorder.Msg), cmp.Transformer("set", set)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestGuardFindsALoop(t *testing.T) {
	g := &guard{probes: map[string]bool{"abc" + probeZone: false}}
	next := plugin.HandlerFunc(func(context.Context, dns.ResponseWriter, *dns.Msg) (int, error) { return dns.RcodeSuccess, nil })
	for name, want := range map[string]int{
		"ABC" + probeZone:   dns.RcodeRefused,
		"other" + probeZone: dns.RcodeRefused,
		"example.com.":      dns.RcodeSuccess,
	} {
		code, err := g.wrap(next).ServeDNS(t.Context(), &test.ResponseWriter{}, new(dns.Msg).SetQuestion(name, dns.TypeA))
		if err != nil || code != want {
			t.Errorf("%s: %d, %v", name, code, err)
		}
	}
	if !g.probes["abc"+probeZone] || len(g.probes) != 1 {
		t.Errorf("probes: %v", g.probes)
	}
}

// parse is the plugin as our Corefile sets it up.
func parse(t *testing.T) *kubernetes.Kubernetes {
	t.Helper()
	c := caddy.NewTestController("dns", directive+" cluster.local in-addr.arpa ip6.arpa {\n pods insecure\n ttl 30\n}")
	c.Next()
	k, err := kubernetes.ParseStanza(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func answers(m *dns.Msg) []string {
	if m == nil {
		return nil
	}
	var all []string
	for _, record := range m.Answer {
		switch r := record.(type) {
		case *dns.A:
			all = append(all, r.A.String())
		case *dns.AAAA:
			all = append(all, r.AAAA.String())
		case *dns.SRV:
			all = append(all, r.Target)
		case *dns.PTR:
			all = append(all, r.Ptr)
		}
	}
	return all
}

func set(list []string) map[string]struct{} {
	out := map[string]struct{}{}
	for _, text := range list {
		out[text] = struct{}{}
	}
	return out
}

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data) + "\n"
}
