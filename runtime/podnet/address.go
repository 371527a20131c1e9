package main

import (
	"errors"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
)

// reserve takes one address of each range, or none at all. It is what host-local does, in host-local's files.
func (c *config) reserve(containerID, device string) (_ []*current.IPConfig, err error) {
	store, err := disk.New(c.addresses.Name, c.addresses.DataDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var all []*current.IPConfig
	for i := range c.addresses.Ranges {
		one, err := allocator.NewIPAllocator(&c.addresses.Ranges[i], store, i).Get(containerID, device, nil)
		if err != nil {
			return nil, errors.Join(err, store.ReleaseByID(containerID, device))
		}
		all = append(all, one)
	}
	return all, nil
}

// release gives up all addresses of a pod. To release none is no error: a pod is taken down as often as it takes.
func (c *config) release(containerID, device string) (err error) {
	store, err := disk.New(c.addresses.Name, c.addresses.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return allocator.NewIPAllocator(&c.addresses.Ranges[0], store, 0).Release(containerID, device)
}

// reserved says whether a pod has an address.
func (c *config) reserved(containerID, device string) (_ bool, err error) {
	store, err := disk.New(c.addresses.Name, c.addresses.DataDir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.FindByID(containerID, device), nil
}
