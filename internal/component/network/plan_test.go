package network

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files") //nolint:gochecknoglobals // a test flag

func prefixes(values ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, v := range values {
		ps = append(ps, netip.MustParsePrefix(v))
	}
	return ps
}

func ipv4Options() Options {
	pods := prefixes("10.42.0.0/16")
	return Options{
		PodBridge: "boxyard0", DockerBridge: "boxyard1",
		NodeIPs: FirstNodeIPs(pods), PodCIDRs: pods, ServiceCIDRs: prefixes("10.43.0.0/16"),
		DockerBridgeCIDR: netip.MustParsePrefix("10.44.0.0/16"),
		DockerPool:       netip.MustParsePrefix("10.45.0.0/16"),
		NamesPort:        10053,

		LoadBalancerPools: prefixes("10.46.0.0/24"),
	}
}

func dualOptions() Options {
	o := ipv4Options()
	o.PodCIDRs = prefixes("10.42.0.0/16", "fd42:b0c5:42::/48")
	o.ServiceCIDRs = prefixes("10.43.0.0/16", "fd42:b0c5:43::/112")
	o.NodeIPs = FirstNodeIPs(o.PodCIDRs)
	o.LoadBalancerPools = prefixes("10.46.0.0/24", "fd42:b0c5:46::/112")
	o.Open = prefixes("10.44.0.0/16", "10.45.1.0/24", "10.42.9.0/24", "fd42:b0c5:44::/64") // the third is laid over the pods'
	return o
}

func mustPlan(t *testing.T, o Options) plan {
	t.Helper()
	p, err := newPlan(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", path, diff)
	}
}

func TestPlan(t *testing.T) {
	podsOnly := ipv4Options()
	podsOnly.DockerBridge, podsOnly.LoadBalancerPools = "", nil
	for name, o := range map[string]Options{"ipv4": ipv4Options(), "dual": dualOptions(), "pods-only": podsOnly} {
		t.Run(name, func(t *testing.T) {
			p := mustPlan(t, o)
			golden(t, name+".plan", p.String())
			golden(t, name+".nft", p.table.script())
		})
	}
}

func TestFirstNodeIPs(t *testing.T) {
	got := FirstNodeIPs(prefixes("10.42.0.0/16", "fd42:b0c5:42::/48"))
	if want := prefixes("10.42.0.1/22", "fd42:b0c5:42::1/64"); !cmp.Equal(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
		t.Errorf("want %v, got %v", want, got)
	}
}

func TestPlanRefuses(t *testing.T) {
	tests := map[string]func(*Options){
		"no bridge":            func(o *Options) { o.PodBridge = "" },
		"no node address":      func(o *Options) { o.NodeIPs = nil },
		"pool of the other":    func(o *Options) { o.LoadBalancerPools = prefixes("fd42::/112") },
		"too many pools":       func(o *Options) { o.LoadBalancerPools = prefixes("10.46.0.0/24", "fd42::/112") },
		"families that differ": func(o *Options) { o.ServiceCIDRs = prefixes("10.43.0.0/16", "fd42::/112") },
		"address outside":      func(o *Options) { o.NodeIPs = prefixes("10.50.0.1/22") },
		"service of the other": func(o *Options) { o.ServiceCIDRs = prefixes("fd42::/112") },
		"docker without range": func(o *Options) { o.DockerBridgeCIDR = netip.Prefix{} },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			o := ipv4Options()
			change(&o)
			if _, err := newPlan(o); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func readRuleset(t *testing.T, name string) ruleset {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	rs, err := parseRuleset(data)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func TestMissingPasses(t *testing.T) {
	for _, name := range []string{"iptables-drop", "firewalld", "nftables-conf", "open", "own-tables"} {
		t.Run(name, func(t *testing.T) {
			rs := readRuleset(t, name+".json")
			scripts := missingPasses(rs, mustPlan(t, dualOptions()).passes)
			var all strings.Builder
			for _, c := range rs.chains {
				all.WriteString(scripts[c.chainKey])
			}
			golden(t, name+".passes", all.String())
		})
	}
}

// What was inserted is found again, and only that is removed.
func TestPassesAreFoundAgain(t *testing.T) {
	passes := mustPlan(t, dualOptions()).passes
	rs := readRuleset(t, "iptables-drop.json")
	forward, ok := rs.find(chainKey{"ip", "filter", "FORWARD"})
	if !ok {
		t.Fatal("the file lacks the chain")
	}
	var inserted int
	for i, p := range passes {
		if p.hook == "forward" && p.fits("ip") {
			forward.rules = append([]rule{{handle: 100 + i, comment: p.comment}}, forward.rules...)
			inserted++
		}
	}
	if script := missingPasses(rs, passes)[forward.chainKey]; script != "" {
		t.Errorf("inserted twice:\n%s", script)
	}
	removal := removePasses(rs)
	if got := strings.Count(removal, "delete rule ip filter FORWARD handle 1"); got != inserted || strings.Count(removal, "\n") != inserted {
		t.Errorf("%d inserted, removed:\n%s", inserted, removal)
	}
}

func TestDrops(t *testing.T) {
	statements := func(s ...string) rule {
		var r rule
		for _, text := range s {
			var m map[string]json.RawMessage
			if err := json.Unmarshal([]byte(text), &m); err != nil {
				t.Fatal(err)
			}
			r.statements = append(r.statements, m)
		}
		return r
	}
	tests := map[string]struct {
		policy string
		last   rule
		want   bool
	}{
		"policy drop":               {"drop", statements(`{"accept":null}`), true},
		"reject":                    {"accept", statements(`{"counter":{}}`, `{"log":{}}`, `{"reject":{"type":"icmpx"}}`), true},
		"drop":                      {"accept", statements(`{"drop":null}`), true},
		"drop on a condition":       {"accept", statements(`{"match":{}}`, `{"drop":null}`), false},
		"accept":                    {"accept", statements(`{"accept":null}`), false},
		"iptables REJECT":           {"accept", statements(`{"counter":{}}`, `{"xt":{"type":"target","name":"REJECT"}}`), true},
		"iptables LOG":              {"accept", statements(`{"xt":{"type":"target","name":"LOG"}}`), false},
		"iptables match":            {"accept", statements(`{"xt":{"type":"match","name":"conntrack"}}`, `{"drop":null}`), false},
		"iptables, old nft":         {"accept", statements(`{"xt":null}`), true},
		"jump to what drops":        {"accept", statements(`{"jump":{"target":"end"}}`), true},
		"jump to what is not there": {"accept", statements(`{"jump":{"target":"none"}}`), false},
		"a loop ends":               {"accept", statements(`{"jump":{"target":"base"}}`), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			base := &chain{chainKey: chainKey{"ip", "t", "base"}, policy: tt.policy, rules: []rule{tt.last}}
			end := &chain{chainKey: chainKey{"ip", "t", "end"}, rules: []rule{statements(`{"drop":null}`)}}
			rs := ruleset{chains: []*chain{base, end}}
			if got := rs.drops(base, 0); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestParseRulesetRefuses(t *testing.T) {
	if _, err := parseRuleset([]byte(`{"nftables": [`)); err == nil {
		t.Error("torn output accepted")
	}
}
