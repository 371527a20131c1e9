package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/pkg/ip"
	"github.com/containernetworking/plugins/pkg/ns"
)

// add is the CNI operation ADD. What fails leaves no address behind; libcni calls DEL for the rest.
func add(args *skel.CmdArgs) (err error) {
	c, err := load(args.StdinData, args.Args)
	if err != nil {
		return err
	}
	pod, err := ns.GetNS(args.Netns)
	if err != nil {
		return fmt.Errorf("open the pod's network namespace: %w", err)
	}
	defer pod.Close()
	result := &current.Result{CNIVersion: current.ImplementedSpecVersion, Routes: c.addresses.Routes, DNS: c.DNS}
	if result.IPs, err = c.reserve(args.ContainerID, args.IfName); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.release(args.ContainerID, args.IfName))
		}
	}()
	if err := c.connect(pod, args.IfName, result); err != nil {
		return err
	}
	versioned, err := result.GetAsVersion(c.CNIVersion)
	if err != nil {
		return err
	}
	err = c.portMap(versioned, func(ctx context.Context, plugin string, conf []byte, exec invoke.Exec) error {
		_, err := invoke.DelegateAdd(ctx, plugin, conf, exec)
		return err
	})
	if err != nil {
		return err
	}
	return types.PrintResult(result, c.CNIVersion)
}

// del is the CNI operation DEL, which may come more than once, and after the namespace has gone.
func del(args *skel.CmdArgs) error {
	c, err := load(args.StdinData, args.Args)
	if err != nil {
		return err
	}
	if err := c.portMap(nil, invoke.DelegateDel); err != nil {
		return err
	}
	if args.Netns != "" {
		err := ns.WithNetNSPath(args.Netns, func(ns.NetNS) error {
			if err := ip.DelLinkByName(args.IfName); !errors.Is(err, ip.ErrLinkNotFound) {
				return err
			}
			return nil
		})
		var gone ns.NSPathNotExistErr
		if err != nil && !errors.As(err, &gone) {
			return err
		}
	}
	return c.release(args.ContainerID, args.IfName)
}

// check is the CNI operation CHECK.
func check(args *skel.CmdArgs) error {
	c, err := load(args.StdinData, args.Args)
	if err != nil {
		return err
	}
	found, err := c.reserved(args.ContainerID, args.IfName)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("no address is reserved for %s", args.ContainerID)
	}
	return ns.WithNetNSPath(args.Netns, func(ns.NetNS) error {
		_, _, err := ip.GetVethPeerIfindex(args.IfName)
		return err
	})
}
