package container

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// Container is what is known of a Docker container.
type Container struct {
	ID   string
	Name string
	// Project and Service are Compose's, Number is which of the service's replicas; empty for others.
	Project, Service string
	Number           int
	// State is Docker's word: "running", "exited", ...
	State string
	// Address is its own on one of its networks; not valid where it has none.
	Address netip.Addr
	// Endpoints are all of its addresses, by network, sorted by the network's name.
	Endpoints []Endpoint
	// OnHost says that it has no network of its own, but the host's.
	OnHost bool
	// Ports are those that it exposes or publishes, the lowest first.
	Ports []Port
}

// Endpoint is a container's place on a network.
type Endpoint struct {
	NetworkID string
	Addresses []netip.Addr // at most one per family, IPv4 first
}

// Port is one port of a container.
type Port struct {
	Number   uint16
	Protocol string // "tcp", "udp" or "sctp"
	// Published are the addresses of this host that lead to it.
	Published []netip.AddrPort
}

// Running says whether the container can answer.
func (c Container) Running() bool { return c.State == string(container.StateRunning) }

// What Compose writes on the containers that it makes.
const (
	labelProject = "com.docker.compose.project"
	labelService = "com.docker.compose.service"
	labelNumber  = "com.docker.compose.container-number"
)

// lister is the part of the Docker API that is needed.
type lister interface {
	ContainerList(ctx context.Context, options client.ContainerListOptions) (client.ContainerListResult, error)
}

// List asks dockerd for all containers, running or not, sorted by name.
func List(ctx context.Context, docker lister) ([]Container, error) {
	listed, err := summaries(ctx, docker)
	if err != nil {
		return nil, err
	}
	return convert(listed), nil
}

func summaries(ctx context.Context, docker lister) ([]container.Summary, error) {
	listed, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list Docker's containers: %w", err)
	}
	return listed.Items, nil
}

func convert(summaries []container.Summary) []Container {
	all := make([]Container, 0, len(summaries))
	for _, s := range summaries {
		all = append(all, one(s))
	}
	// A container in another's network is reached where that one is.
	for i, s := range summaries {
		other, shares := strings.CutPrefix(s.HostConfig.NetworkMode, "container:")
		if !shares {
			continue
		}
		if j := slices.IndexFunc(all, func(c Container) bool { return c.ID == other || c.Name == other }); j >= 0 {
			all[i].Address, all[i].Endpoints, all[i].OnHost = all[j].Address, all[j].Endpoints, all[j].OnHost
		}
	}
	slices.SortFunc(all, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func one(s container.Summary) Container {
	c := Container{
		ID: s.ID, Name: ownName(s.Names), State: string(s.State),
		Project: s.Labels[labelProject], Service: s.Labels[labelService], Ports: ports(s.Ports),
	}
	// One that is not a number is nobody's replica, and comes first.
	c.Number, _ = strconv.Atoi(s.Labels[labelNumber])
	if s.HostConfig.NetworkMode == "host" {
		c.Address, c.OnHost = netip.AddrFrom4([4]byte{127, 0, 0, 1}), true
	}
	if s.NetworkSettings == nil {
		return c
	}
	for _, name := range slices.Sorted(maps.Keys(s.NetworkSettings.Networks)) {
		endpoint := s.NetworkSettings.Networks[name]
		if endpoint == nil {
			continue
		}
		e := Endpoint{NetworkID: endpoint.NetworkID}
		for _, address := range []netip.Addr{endpoint.IPAddress, endpoint.GlobalIPv6Address} {
			if address.IsValid() {
				e.Addresses = append(e.Addresses, address)
			}
		}
		if len(e.Addresses) == 0 {
			continue
		}
		c.Endpoints = append(c.Endpoints, e)
		if !c.Address.IsValid() {
			c.Address = e.Addresses[0]
		}
	}
	return c
}

// ownName leaves out the names that links have given it ("/other/alias").
func ownName(names []string) string {
	for _, n := range names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}

func ports(listed []container.PortSummary) []Port {
	var found []Port
	for _, p := range listed {
		i := slices.IndexFunc(found, func(f Port) bool { return f.Number == p.PrivatePort && f.Protocol == p.Type })
		if i < 0 {
			i = len(found)
			found = append(found, Port{Number: p.PrivatePort, Protocol: p.Type})
		}
		if p.PublicPort != 0 && p.IP.IsValid() {
			found[i].Published = append(found[i].Published, netip.AddrPortFrom(p.IP, p.PublicPort))
		}
	}
	slices.SortFunc(found, func(a, b Port) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), strings.Compare(a.Protocol, b.Protocol))
	})
	for _, p := range found {
		slices.SortFunc(p.Published, netip.AddrPort.Compare)
	}
	return found
}

// HostNames are the names under which others know the container, in lower case since names of hosts have no
// other: its own, and SERVICE.PROJECT of Compose, which its replicas share.
func (c Container) HostNames() []string {
	names := []string{strings.ToLower(c.Name)}
	if c.Service != "" {
		names = append(names, strings.ToLower(c.Service+"."+c.Project))
	}
	return names
}

// Find returns the container that a name means: its own name, or SERVICE.PROJECT of Compose. Letters
// have no case, since names of hosts have none. Of several replicas it is the first that runs.
func Find(all []Container, name string) (Container, bool) {
	for _, c := range all {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	var replicas []Container
	for _, c := range all {
		if c.Service != "" && strings.EqualFold(c.Service+"."+c.Project, name) {
			replicas = append(replicas, c)
		}
	}
	if len(replicas) == 0 {
		return Container{}, false
	}
	return slices.MinFunc(replicas, func(a, b Container) int {
		if a.Running() != b.Running() {
			if a.Running() {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.Number, b.Number)
	}), true
}
