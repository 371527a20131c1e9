package names

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/network"

	"github.com/boxyard/boxyard/internal/container"
)

func ip(text string) netip.Addr { return netip.MustParseAddr(text) }

func on(networkID string, addresses ...netip.Addr) []container.Endpoint {
	return []container.Endpoint{{NetworkID: networkID, Addresses: addresses}}
}

func published(addresses ...string) []container.Port {
	p := container.Port{Number: 80, Protocol: "tcp"}
	for _, a := range addresses {
		p.Published = append(p.Published, netip.MustParseAddrPort(a))
	}
	return []container.Port{p}
}

func TestHosts(t *testing.T) {
	summary := func(n network.Network) network.Summary { return network.Summary{Network: n} }
	on4 := func(subnets ...string) network.IPAM {
		var config []network.IPAMConfig
		for _, s := range subnets {
			config = append(config, network.IPAMConfig{Subnet: netip.MustParsePrefix(s)})
		}
		return network.IPAM{Config: config}
	}
	r := reach{node: ip("10.42.0.1"), open: true, networks: map[string]network.Summary{
		"open":     summary(network.Network{Driver: "bridge", IPAM: on4("10.45.0.0/24", "fd42::/64")}),
		"closed":   summary(network.Network{Driver: "bridge", Labels: map[string]string{Label: Closed}, IPAM: on4("10.45.3.0/24")}),
		"default":  summary(network.Network{Driver: "bridge", IPAM: on4("10.44.0.0/16")}),
		"internal": summary(network.Network{Driver: "bridge", Internal: true, IPAM: on4("10.45.4.0/24")}),
		"routed":   summary(network.Network{Driver: "bridge", Labels: map[string]string{Label: Closed}, Options: map[string]string{gatewayMode6: "routed"}}),
		"macvlan":  summary(network.Network{Driver: "macvlan", IPAM: on4("192.0.2.0/24")}),
	}}
	all := []container.Container{
		{Name: "Web", State: "running", Endpoints: on("open", ip("10.45.0.2"), ip("fd42::2"))},
		{Name: "shop-api-1", Project: "Shop", Service: "api", State: "running", Endpoints: on("open", ip("10.45.1.2"))},
		{Name: "shop-api-2", Project: "Shop", Service: "api", State: "running", Endpoints: on("open", ip("10.45.1.3"))},
		{Name: "shop-api-3", Project: "Shop", Service: "api", State: "exited", Endpoints: on("open", ip("10.45.1.4"))},
		{Name: "db.own", State: "running", Endpoints: on("open", ip("10.45.2.2"))},
		{Name: "own-db-1", Project: "own", Service: "db", State: "running", Endpoints: on("open", ip("10.45.2.3"))},
		{Name: "host", State: "running", Endpoints: on("open", ip("10.45.0.9"))},
		{Name: "hidden", State: "running", Endpoints: on("closed", ip("10.45.3.2"))},
		{Name: "plain", State: "running", Endpoints: on("default", ip("10.44.0.9")), Ports: published("0.0.0.0:80")},
		{Name: "published", State: "running", Endpoints: on("closed", ip("10.45.3.2")), Ports: published("0.0.0.0:8080", "[::]:8080")},
		{Name: "one-address", State: "running", Endpoints: on("closed", ip("10.45.3.3")), Ports: published("192.0.2.7:8080")},
		{Name: "loopback", State: "running", Endpoints: on("closed", ip("10.45.3.4")), Ports: published("127.0.0.1:8080")},
		{Name: "inside", State: "running", Endpoints: on("internal", ip("10.45.4.2"))},
		{Name: "routed", State: "running", Endpoints: on("routed", ip("10.45.5.2"), ip("fd42::5"))},
		{Name: "lan", State: "running", Endpoints: on("macvlan", ip("192.0.2.9"))},
		{Name: "on-host", State: "running", OnHost: true},
	}
	const want = `10.45.1.2 api.shop.docker.internal
10.45.1.3 api.shop.docker.internal
10.45.2.2 db.own.docker.internal
10.42.0.1 gateway.docker.internal
10.42.0.1 host.docker.internal
10.42.0.1 on-host.docker.internal
192.0.2.7 one-address.docker.internal
10.45.2.3 own-db-1.docker.internal
10.44.0.9 plain.docker.internal
10.42.0.1 published.docker.internal
fd42::5 routed.docker.internal
10.45.1.2 shop-api-1.docker.internal
10.45.1.3 shop-api-2.docker.internal
10.45.0.2 web.docker.internal
fd42::2 web.docker.internal
`
	if d := cmp.Diff(want, r.hosts(all).String()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := lines(r.ranges()); got != "10.44.0.0/16\n10.45.0.0/24\nfd42::/64\n" {
		t.Errorf("open: %q", got)
	}
	r.open = false
	if got := r.addresses(all[0]); len(got) != 0 || len(r.ranges()) != 0 {
		t.Errorf("with nothing open: %v, %v", got, r.ranges())
	}
}

func TestPrepare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "names")
	file := HostsFile(dir)
	o := Options{Dir: dir, DockerSocket: "/none", Containers: true, Node: ip("10.42.0.1"), Logger: slog.New(slog.DiscardHandler)}
	expect := func(o Options, want string) {
		t.Helper()
		if err := New(o).Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, string(got)); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
	const host = "10.42.0.1 gateway.docker.internal\n10.42.0.1 host.docker.internal\n"
	const earlier = host + "10.45.0.2 web.docker.internal\n"
	expect(o, host)
	if err := os.WriteFile(file, []byte(earlier), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(o, earlier) // until dockerd says more
	o.Containers = false
	expect(o, host)
	if got := Opened(dir); got != nil {
		t.Errorf("opened: %v", got)
	}
	if err := os.WriteFile(openFile(dir), []byte("10.44.0.0/16\nfd42::/64\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lines(Opened(dir)); got != "10.44.0.0/16\nfd42::/64\n" {
		t.Errorf("opened: %q", got)
	}
}
