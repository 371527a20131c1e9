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
	open := map[string]string{TrustedHostInterfaces: "eth9:boxyard0"}
	r := reach{node: ip("10.42.0.1"), bridge: "boxyard0", networks: map[string]network.Network{
		"open":     {Driver: "bridge", Options: open},
		"closed":   {Driver: "bridge", Options: map[string]string{TrustedHostInterfaces: "boxyard01"}},
		"default":  {Driver: "bridge"},
		"internal": {Driver: "bridge", Internal: true, Options: open},
		"routed":   {Driver: "bridge", Options: map[string]string{gatewayMode6: "routed"}},
		"macvlan":  {Driver: "macvlan", Options: open},
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
		{Name: "published", State: "running", Endpoints: on("default", ip("10.44.0.2")), Ports: published("0.0.0.0:8080", "[::]:8080")},
		{Name: "one-address", State: "running", Endpoints: on("default", ip("10.44.0.3")), Ports: published("192.0.2.7:8080")},
		{Name: "loopback", State: "running", Endpoints: on("default", ip("10.44.0.4")), Ports: published("127.0.0.1:8080")},
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
}

func TestPrepare(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names", "hosts")
	o := Options{File: file, DockerSocket: "/none", Node: ip("10.42.0.1"), Bridge: "boxyard0", Logger: slog.New(slog.DiscardHandler)}
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
	o.DockerSocket = ""
	expect(o, host)
}
