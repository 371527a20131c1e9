package container

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/reach"
)

const listed = `[
{"Id":"a1","Names":["/web"],"State":"running","Ports":[
  {"IP":"0.0.0.0","PrivatePort":8000,"PublicPort":32000,"Type":"tcp"},{"IP":"::","PrivatePort":8000,"PublicPort":32000,"Type":"tcp"},
  {"PrivatePort":53,"Type":"udp"},{"PrivatePort":9000,"Type":"tcp"}],
 "NetworkSettings":{"Networks":{"b":{"NetworkID":"n-b","IPAddress":"10.45.0.3"},"a":{"NetworkID":"n-a","IPAddress":"10.44.0.2","GlobalIPv6Address":"fd42::2"},"c":{"NetworkID":"n-c"}}}},
{"Id":"b2","Names":["/shop-api-2","/web/api"],"State":"running","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"api","com.docker.compose.container-number":"2"},
 "Ports":[{"PrivatePort":80,"Type":"tcp"}],"NetworkSettings":{"Networks":{"shop_default":{"IPAddress":"10.45.1.3"}}}},
{"Id":"b1","Names":["/shop-api-1"],"State":"exited","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"api","com.docker.compose.container-number":"1"},"Ports":[]},
{"Id":"c1","Names":["/sidecar"],"State":"running","HostConfig":{"NetworkMode":"container:a1"},"Ports":[{"PrivatePort":443,"Type":"tcp"}]},
{"Id":"d1","Names":["/silent"],"State":"running","Ports":[],"NetworkSettings":{"Networks":{"a":{"IPAddress":"10.44.0.9"}}}}
]`

type fakeDocker struct{ t *testing.T }

func (f fakeDocker) ContainerList(_ context.Context, o client.ContainerListOptions) (client.ContainerListResult, error) {
	var items []container.Summary
	if err := json.Unmarshal([]byte(listed), &items); err != nil || !o.All {
		f.t.Errorf("all: %v, %v", o.All, err)
	}
	return client.ContainerListResult{Items: items}, nil
}

func list(t *testing.T) []Container {
	t.Helper()
	all, err := List(t.Context(), fakeDocker{t})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestList(t *testing.T) {
	web := Container{ID: "a1", Name: "web", State: "running", Address: netip.MustParseAddr("10.44.0.2"), Endpoints: []Endpoint{
		{NetworkID: "n-a", Addresses: []netip.Addr{netip.MustParseAddr("10.44.0.2"), netip.MustParseAddr("fd42::2")}},
		{NetworkID: "n-b", Addresses: []netip.Addr{netip.MustParseAddr("10.45.0.3")}},
	}, Ports: []Port{
		{Number: 53, Protocol: "udp"},
		{Number: 8000, Protocol: "tcp", Published: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:32000"), netip.MustParseAddrPort("[::]:32000")}},
		{Number: 9000, Protocol: "tcp"},
	}}
	got, ok := Find(list(t), "WEB")
	if diff := cmp.Diff(web, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" || !ok {
		t.Error(diff)
	}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"web": "a1", "shop-api-1": "b1", "api.shop": "b2", "Api.Shop": "b2", "api": "", "web.shop": "", "web/api": "",
	} {
		c, ok := Find(list(t), name)
		if c.ID != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, c.ID, ok, want)
		}
	}
}

func TestBackend(t *testing.T) {
	for name, want := range map[string]struct {
		address string
		tls     bool
		code    string
	}{
		"web":        {address: "10.44.0.2:8000"}, // published goes before what is only exposed
		"api.shop":   {address: "10.45.1.3:80"},
		"shop-api-1": {code: "not-running"},
		"sidecar":    {address: "10.44.0.2:443", tls: true},
		"silent":     {code: "no-port"},
	} {
		c, _ := Find(list(t), name)
		address, tls, err := c.Backend()
		if address != want.address || tls != want.tls || fault.Code(err) != want.code {
			t.Errorf("%s: %q, %v, %v", name, address, tls, err)
		}
	}
}

func TestHTTPPort(t *testing.T) {
	published := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}
	for name, tt := range map[string]struct {
		ports []Port
		want  uint16
	}{
		"80":              {[]Port{{Number: 22, Protocol: "tcp", Published: published}, {Number: 80, Protocol: "tcp"}}, 80},
		"8080":            {[]Port{{Number: 22, Protocol: "tcp"}, {Number: 8080, Protocol: "tcp"}}, 8080},
		"published":       {[]Port{{Number: 22, Protocol: "tcp"}, {Number: 3000, Protocol: "tcp", Published: published}}, 3000},
		"lowest":          {[]Port{{Number: 53, Protocol: "udp"}, {Number: 3000, Protocol: "tcp"}, {Number: 4000, Protocol: "tcp"}}, 3000},
		"443 is last":     {[]Port{{Number: 443, Protocol: "tcp", Published: published}, {Number: 3000, Protocol: "tcp"}}, 3000},
		"443 if no other": {[]Port{{Number: 443, Protocol: "tcp"}}, 443},
	} {
		if got, _, _ := (Container{Ports: tt.ports}).HTTP(); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

func TestWays(t *testing.T) {
	c, _ := Find(list(t), "web")
	want := Addresses{
		Name: "web", State: "running",
		Ways: []reach.Way{
			{Kind: reach.Container, URL: "http://10.44.0.2:8000"},
			{Kind: reach.Container, URL: "10.44.0.2:53/udp"},
			{Kind: reach.Container, URL: "http://10.44.0.2:9000"},
			{Kind: reach.FrontDoor, URL: "http://web.docker.localhost", Address: "127.0.0.1:80", Host: "web.docker.localhost"},
			{Kind: reach.Published, URL: "http://127.0.0.1:32000"},
		},
	}
	want.URLs = reach.URLs(want.Ways)
	if diff := cmp.Diff(want, c.Addresses(80)); diff != "" {
		t.Error(diff)
	}
	if stopped, _ := Find(list(t), "shop-api-1"); len(stopped.Addresses(80).URLs) != 0 || stopped.Addresses(80).Note == "" {
		t.Errorf("one that does not run: %+v", stopped.Addresses(80))
	}
	if compose, _ := Find(list(t), "api.shop"); len(compose.Ways(80)) != 3 || compose.Ways(80)[2].Host != "api.shop.docker.localhost" {
		t.Errorf("Compose's: %+v", compose.Ways(80))
	}
}

func TestPublishers(t *testing.T) {
	docker := t.TempDir()
	for id, bindings := range map[string]string{
		"everywhere": `{"8080/tcp":[{"HostIp":"","HostPort":"80"}]}`,
		"ipv4":       `{"80/tcp":[{"HostIp":"192.0.2.1","HostPort":"80"},{"HostIp":"0.0.0.0","HostPort":"80"}]}`,
		"loopback":   `{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"80"}]}`,
		"ipv6":       `{"80/tcp":[{"HostIp":"::","HostPort":"80"}]}`,
		"elsewhere":  `{"80/tcp":[{"HostIp":"192.0.2.1","HostPort":"80"}]}`,
		"another":    `{"80/tcp":[{"HostIp":"","HostPort":"8080"}]}`,
		"udp":        `{"80/udp":[{"HostIp":"","HostPort":"80"}]}`,
		"whichever":  `{"80/tcp":[{"HostIp":"","HostPort":""}]}`,
		"none":       `{}`,
	} {
		write(t, docker, id, hostConfigFile, `{"PortBindings":`+bindings+`,"NetworkMode":"bridge"}`)
		write(t, docker, id, configFile, `{"ID":"`+id+`","Name":"/the-`+id+`"}`)
	}
	if err := os.Mkdir(filepath.Join(docker, containersDir, "unfinished"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := Publishers(docker, 80)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"everywhere": "the-everywhere", "ipv4": "the-ipv4", "loopback": "the-loopback", "ipv6": "the-ipv6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if none, err := Publishers(filepath.Join(docker, "nothing"), 80); err != nil || len(none) != 0 {
		t.Errorf("before the first container: %v, %v", none, err)
	}
	write(t, docker, "broken", hostConfigFile, "{")
	if _, err := Publishers(docker, 80); err == nil {
		t.Error("a broken file is no error")
	}
}

func write(t *testing.T, docker, id, name, content string) {
	t.Helper()
	dir := filepath.Join(docker, containersDir, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
