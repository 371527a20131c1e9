package main

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	current "github.com/containernetworking/cni/pkg/types/100"
)

func stdin(dir, more string) []byte {
	return fmt.Appendf(nil, `{"cniVersion":"1.0.0","name":"boxyard","type":"podnet","bridge":"boxyard0",
"ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.42.0.0/30"}],[{"subnet":"fd42::/64"}]]},
"portMap":{"backend":"nftables","snat":true}%s}`, dir, more)
}

func TestAddressesAreAllOrNone(t *testing.T) {
	c, err := load(stdin(t.TempDir(), ""), "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.reserve("one", "eth0")
	if err != nil {
		t.Fatal(err)
	}
	// .1 is the gateway, which is the bridge.
	if len(got) != 2 || got[0].Address.String() != "10.42.0.2/30" || got[0].Gateway.String() != "10.42.0.1" || got[1].Address.String() != "fd42::2/64" {
		t.Errorf("the first pod has %v", got)
	}
	// The IPv4 range is full now.
	if _, err := c.reserve("two", "eth0"); err == nil {
		t.Error("there was an address for a second pod")
	}
	if found, err := c.reserved("two", "eth0"); err != nil || found {
		t.Errorf("the pod that got none has one: %v, %v", found, err)
	}
	for range 2 {
		if err := c.release("one", "eth0"); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := c.reserved("one", "eth0"); err != nil || found {
		t.Errorf("released, and there: %v, %v", found, err)
	}
}

func TestPortMapIsCalledForHostPortsOnly(t *testing.T) {
	var called map[string]any
	call := func(_ context.Context, plugin string, conf []byte, _ invoke.Exec) error {
		if plugin != "portmap" {
			t.Errorf("%s was called", plugin)
		}
		return json.Unmarshal(conf, &called)
	}
	for _, without := range []string{"", `,"runtimeConfig":{}`, `,"runtimeConfig":{"portMappings":[]}`} {
		c, err := load(stdin(t.TempDir(), without), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.portMap(nil, call); err != nil || called != nil {
			t.Errorf("%s: %v, %v", without, called, err)
		}
	}
	c, err := load(stdin(t.TempDir(), `,"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}`), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.portMap(&current.Result{CNIVersion: "1.0.0"}, call); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"cniVersion", "name", "backend", "snat", "runtimeConfig", "prevResult"} {
		if called[key] == nil {
			t.Errorf("portmap's configuration lacks %s: %v", key, called)
		}
	}
}

func TestNoBridgeIsAnError(t *testing.T) {
	if _, err := load([]byte(`{"name":"x"}`), ""); err == nil {
		t.Error("a configuration without a bridge was taken")
	}
}
