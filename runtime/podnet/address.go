package main

import (
	"errors"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/allocator"
	"github.com/containernetworking/plugins/plugins/ipam/host-local/backend/disk"
)

// inStore calls do with host-local's files, in which addresses are taken.
func (c *config) inStore(do func(*disk.Store) error) (err error) {
	store, err := disk.New(c.addresses.Name, c.addresses.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return do(store)
}

// reserve takes one address of each range, or none at all, as host-local does.
func (c *config) reserve(containerID, device string) ([]*current.IPConfig, error) {
	var all []*current.IPConfig
	err := c.inStore(func(store *disk.Store) error {
		for i := range c.addresses.Ranges {
			one, err := allocator.NewIPAllocator(&c.addresses.Ranges[i], store, i).Get(containerID, device, nil)
			if err != nil {
				return errors.Join(err, c.releaseIn(store, containerID, device))
			}
			all = append(all, one)
		}
		return nil
	})
	return all, err
}

// release gives up all addresses of a pod. To release none is no error: a pod is taken down as often as it takes.
func (c *config) release(containerID, device string) error {
	return c.inStore(func(store *disk.Store) error { return c.releaseIn(store, containerID, device) })
}

// releaseIn: an allocator of any range releases the addresses of all.
func (c *config) releaseIn(store *disk.Store, containerID, device string) error {
	return allocator.NewIPAllocator(&c.addresses.Ranges[0], store, 0).Release(containerID, device)
}

// reserved says whether a pod has an address.
func (c *config) reserved(containerID, device string) (found bool, err error) {
	err = c.inStore(func(store *disk.Store) error {
		found = store.FindByID(containerID, device)
		return nil
	})
	return found, err
}
