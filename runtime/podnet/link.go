package main

import (
	"fmt"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ip"
	"github.com/containernetworking/plugins/pkg/ipam"
	"github.com/containernetworking/plugins/pkg/netlinksafe"
	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/containernetworking/plugins/pkg/utils/sysctl"
	"github.com/vishvananda/netlink"
)

// connect joins the pod's namespace to the bridge and sets up its side of the pair, device, with the result's
// addresses and routes. It adds the three interfaces to the result, in the order in which bridge has them.
func (c *config) connect(pod ns.NetNS, device string, result *current.Result) error {
	bridge, err := netlinksafe.LinkByName(c.Bridge)
	if err != nil {
		return fmt.Errorf("find the pods' bridge %s: %w", c.Bridge, err)
	}
	var host, inside string
	err = pod.Do(func(hostNS ns.NetNS) error {
		h, i, err := ip.SetupVeth(device, 0, "", hostNS)
		host, inside = h.Name, i.HardwareAddr.String()
		return err
	})
	if err != nil {
		return err
	}
	port, err := netlinksafe.LinkByName(host)
	if err != nil {
		return fmt.Errorf("find %s: %w", host, err)
	}
	if err := netlink.LinkSetMaster(port, bridge); err != nil {
		return fmt.Errorf("make %s a port of %s: %w", host, c.Bridge, err)
	}
	// A pod reaches itself through its own Service.
	if err := netlink.LinkSetHairpin(port, true); err != nil {
		return fmt.Errorf("let %s send back where it comes from: %w", host, err)
	}
	result.Interfaces = []*current.Interface{
		{Name: c.Bridge, Mac: bridge.Attrs().HardwareAddr.String()},
		{Name: host, Mac: port.Attrs().HardwareAddr.String()},
		{Name: device, Mac: inside, Sandbox: pod.Path()},
	}
	for _, address := range result.IPs {
		address.Interface = new(2)
	}
	if err := pod.Do(func(ns.NetNS) error { return configure(device, result) }); err != nil {
		return err
	}
	return untilUp(host)
}

// configure runs in the pod's namespace.
func configure(device string, result *current.Result) error {
	// Addresses are given out once: nobody has to be asked whether they are free. The other one tells the neighbours of
	// an address that came back soon. Neither is there on every kernel.
	_, _ = sysctl.Sysctl("net/ipv6/conf/"+device+"/accept_dad", "0")
	_, _ = sysctl.Sysctl("net/ipv4/conf/"+device+"/arp_notify", "1")
	return ipam.ConfigureIface(device, result)
}

// untilUp waits until the kernel has seen the carrier of a port: before that the bridge forwards nothing to it.
func untilUp(name string) error {
	const limit, step = 3 * time.Second, time.Millisecond
	late := time.After(limit)
	for {
		port, err := netlinksafe.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		state := port.Attrs().OperState
		if state == netlink.OperUp {
			return nil
		}
		select {
		case <-late:
			return fmt.Errorf("the bridge port %s is not up after %v: %s", name, limit, state)
		case <-time.After(step):
		}
	}
}
