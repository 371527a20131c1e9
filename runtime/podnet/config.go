package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
)

// config is one plugin's part of a network's configuration, as libcni passes it.
type config struct {
	types.PluginConf
	Bridge string `json:"bridge"`
	// PortMap is the configuration of upstream's portmap, as the list of a network would have it.
	PortMap map[string]any `json:"portMap"`

	RuntimeConfig struct {
		PortMappings []any `json:"portMappings"`
	} `json:"runtimeConfig"`

	addresses *allocator.IPAMConfig
}

func load(stdin []byte, args string) (*config, error) {
	c := &config{}
	if err := json.Unmarshal(stdin, c); err != nil {
		return nil, fmt.Errorf("read the network's configuration: %w", err)
	}
	if c.Bridge == "" {
		return nil, errors.New("the network's configuration names no bridge")
	}
	var err error
	c.addresses, _, err = allocator.LoadIPAMConfig(stdin, args)
	return c, err
}

// portMap calls upstream's portmap by call, if the pod has host ports. result may be nil.
func (c *config) portMap(result types.Result, call func(ctx context.Context, plugin string, conf []byte, exec invoke.Exec) error) error {
	if len(c.RuntimeConfig.PortMappings) == 0 {
		return nil
	}
	conf := map[string]any{
		"cniVersion":    c.CNIVersion,
		"name":          c.Name,
		"runtimeConfig": c.RuntimeConfig,
	}
	maps.Copy(conf, c.PortMap)
	if result != nil {
		conf["prevResult"] = result
	}
	data, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	return call(context.Background(), "portmap", data, nil)
}
