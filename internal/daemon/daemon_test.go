package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/host"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/supervisor"
)

func testMachine(t *testing.T, without ...string) *machine {
	t.Helper()
	s, err := newState(create())
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.apply(config.Default(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Without = without
	m, err := newMachine(Options{Layout: layout(t), Log: slog.New(slog.DiscardHandler)}, c, s, host.Facts{CgroupDriver: "cgroupfs"})
	if err != nil {
		t.Fatal(err)
	}
	m.versions = map[string]string{"pause": "1.0"}
	return m
}

func TestComponents(t *testing.T) {
	for _, tt := range []struct{ without, want []string }{
		{nil, []string{"network", "registries", "containerd", "dockerd", "images", "cluster", "dns", "names", "dns-standby", "registry", "front-door"}},
		{[]string{"cluster"}, []string{"network", "registries", "containerd", "dockerd", "images", "names", "dns-standby", "registry", "front-door"}},
		{[]string{"docker"}, []string{"network", "registries", "containerd", "images", "cluster", "dns", "names", "dns-standby", "registry", "front-door"}},
		{[]string{"docker", "cluster"}, []string{"network", "registries", "containerd", "images", "registry", "front-door"}},
	} {
		comps, err := Components(testMachine(t, tt.without...))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, componentNames(comps)); d != "" {
			t.Error(d)
		}
		if _, err := supervisor.New(slog.New(slog.DiscardHandler), comps); err != nil {
			t.Errorf("without %v: %v", tt.without, err)
		}
	}
}

func componentNames(comps []supervisor.Component) []string {
	var all []string
	for _, c := range comps {
		all = append(all, c.Name())
	}
	return all
}

// The supervisor stops what requires a part before that part: this is the order of `down`.
func TestWhoStopsBeforeWhom(t *testing.T) {
	comps, err := Components(testMachine(t))
	if err != nil {
		t.Fatal(err)
	}
	requires := map[string][]string{}
	for _, c := range comps {
		requires[c.Name()] = c.Requires()
		if p, ok := c.(supervisor.Predecessor); ok {
			requires[c.Name()] = append(requires[c.Name()], p.StopsBefore()...)
		}
	}
	var needs func(who, whom string) bool
	needs = func(who, whom string) bool {
		return slices.ContainsFunc(requires[who], func(r string) bool { return r == whom || needs(r, whom) })
	}
	for _, pair := range [][2]string{
		{"cluster", "containerd"}, // no kubelet starts the pods anew that containerd stops
		{"dockerd", "containerd"}, // dockerd stops its containers itself
		{"images", "containerd"},
		{"containerd", "network"}, // pods are taken down with their network
		{"dns", "network"},
	} {
		if !needs(pair[0], pair[1]) {
			t.Errorf("%s must stop before %s", pair[0], pair[1])
		}
	}
	if needs("dns", "cluster") || needs("cluster", "dns") || needs("cluster", "dockerd") || needs("dockerd", "cluster") {
		t.Error("dns, dockerd and cluster must not wait for each other")
	}
}

func TestMachineAddresses(t *testing.T) {
	m := testMachine(t)
	got := map[string]any{
		"node": addresses(m.ranges.nodes), "dns": dnsAddress(m.ranges.services[0]), "own range": masked(m.ranges.nodes),
		"pki": []string{m.pki.NodeIPs[0].String(), m.pki.NodeIPs[1].String(), m.pki.ServiceIPs[0].String(), m.pki.ServiceIPs[1].String()},
	}
	want := map[string]any{
		"node":      []netip.Addr{netip.MustParseAddr("10.42.0.1"), netip.MustParseAddr("fd42:b0c5:42::1")},
		"dns":       netip.MustParseAddr("10.43.0.10"),
		"own range": []netip.Prefix{netip.MustParsePrefix("10.42.0.0/22"), netip.MustParsePrefix("fd42:b0c5:42::/64")},
		"pki":       []string{"10.42.0.1", "fd42:b0c5:42::1", "10.43.0.1", "fd42:b0c5:43::1"},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

func newTestDaemon(l paths.Layout) (*daemon, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	return &daemon{
		o: Options{Layout: l, Log: slog.New(slog.DiscardHandler)}, events: newEventLog(),
		stop: cancel, over: make(chan struct{}), phase: controlapi.PhaseRunning,
	}, ctx
}

func TestTheFirstStopDecides(t *testing.T) {
	d, ctx := newTestDaemon(layout(t))
	d.requestStop(true)
	if ctx.Err() == nil || !d.keepContainers() || d.Status(t.Context()).Phase != controlapi.PhaseStopping {
		t.Error("SIGTERM must stop the parts and keep the containers")
	}
	if err := d.Down(t.Context(), controlapi.DownRequest{}); fault.Code(err) != "stopping" || !d.keepContainers() {
		t.Errorf("a later down must not change that: %v", err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := d.Down(gone, controlapi.DownRequest{KeepContainers: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that leaves: %v", err)
	}
	d.stopErr = errors.New("a pod did not end")
	close(d.over)
	if err := d.Down(gone, controlapi.DownRequest{KeepContainers: true}); err == nil || err.Error() != "a pod did not end" {
		t.Errorf("what went wrong while stopping: %v", err)
	}
}

func TestDownGoesOnWithoutTheClient(t *testing.T) {
	d, ctx := newTestDaemon(layout(t))
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := d.Down(gone, controlapi.DownRequest{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if ctx.Err() == nil || d.keepContainers() {
		t.Error("what was asked for was lost with the client")
	}
}

func TestRefusedStartLeavesNothing(t *testing.T) {
	l := layout(t)
	err := Run(t.Context(), Options{Layout: l, Config: config.Default(), Exe: os.Args[0], Log: slog.New(slog.DiscardHandler)})
	if fault.Code(err) != "no-payload" {
		t.Errorf("got %v", err)
	}
	for _, dir := range []string{l.Data, l.Config, l.Log} {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made: %v", dir, err)
		}
	}
	if Running(l) {
		t.Error("the lock is still held")
	}
	if err := TakeFault(l); fault.Code(err) != "no-payload" {
		t.Errorf("the reason for whoever started it: %v", err)
	}
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	absent, empty, used := filepath.Join(dir, "absent"), filepath.Join(dir, "empty"), filepath.Join(dir, "used")
	for _, d := range []string{empty, used} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(used, "theirs"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := presences([]string{absent, empty, used})
	if d := cmp.Diff(map[string]Presence{absent: Absent, empty: Empty, used: Used}, before); d != "" {
		t.Fatal(d)
	}
	for path, was := range before {
		if err := os.MkdirAll(filepath.Join(path, "ours", "deep"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := restore(path, was); err != nil {
			t.Error(err)
		}
	}
	after := presences([]string{absent, empty, used})
	if d := cmp.Diff(before, after); d != "" {
		t.Error(d)
	}
	if _, err := os.Stat(filepath.Join(used, "theirs")); err != nil {
		t.Error(err)
	}
}

func TestTablesToRemove(t *testing.T) {
	now := []string{"ip kube-proxy", "ip6 kube-proxy", "inet boxyard-policy", "ip docker-bridges", "inet filter", "inet boxyard"}
	for _, tt := range []struct{ before, running, want []string }{
		{nil, nil, []string{"ip kube-proxy", "ip6 kube-proxy", "inet boxyard-policy", "ip docker-bridges"}},
		{[]string{"ip kube-proxy"}, nil, []string{"ip6 kube-proxy", "inet boxyard-policy", "ip docker-bridges"}},
		{nil, []string{"dockerd"}, []string{"ip kube-proxy", "ip6 kube-proxy", "inet boxyard-policy"}},
		{nil, []string{"k3s", "dockerd"}, []string{"inet boxyard-policy"}},
	} {
		if d := cmp.Diff(tt.want, tablesToRemove(now, tt.before, tt.running)); d != "" {
			t.Error(d)
		}
	}
}

func TestUsers(t *testing.T) {
	l := layout(t)
	for _, u := range []User{{UID: 1000, GID: 1000, Home: "/home/a"}, {Home: "/root"}, {UID: 1000, GID: 1000, Home: "/home/b"}} {
		if err := Remember(l, u); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Users(l)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]User{{Home: "/root"}, {UID: 1000, GID: 1000, Home: "/home/b"}}, got); d != "" {
		t.Error(d)
	}
}

func TestRssAnon(t *testing.T) {
	if got := rssAnon([]byte("Name:\tx\nRssAnon:\t    1234 kB\nRssFile:\t 9 kB\n")); got != 1234*1024 {
		t.Error(got)
	}
	if got := rssAnon([]byte("Name:\tx\n")); got != 0 {
		t.Error(got)
	}
}

func TestMovedRangesSayBecauseOfWhat(t *testing.T) {
	was, is := config.Default(), config.Default()
	is.Network.PodCIDR = "10.46.0.0/16"
	got := movedRanges(was, is, []host.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Dev: "eth0"}, {Dst: netip.MustParsePrefix("10.42.7.0/24"), Dev: "office"}})
	want := []string{"pods have 10.46.0.0/16, because 10.42.0.0/16 is taken by 10.42.7.0/24 dev office"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
