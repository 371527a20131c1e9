package container

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/client"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/reach"
	"github.com/boxyard/boxyard/internal/spelling"
)

// Addresses is where a container answers.
type Addresses struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// URLs are those of Ways, for those who want no more.
	URLs []string    `json:"urls"`
	Ways []reach.Way `json:"ways"`
	// Note says what a person should know: that it does not run, or has no port.
	Note string `json:"note,omitempty"`
}

// HTTP is the port that people mean by the container's name: 80, 8080, else the first that is
// published, else the first that is exposed. TLS says that it is the one where only HTTPS is expected.
func (c Container) HTTP() (port uint16, tls, ok bool) {
	var tcp []Port
	for _, p := range c.Ports {
		if p.Protocol == "tcp" {
			tcp = append(tcp, p)
		}
	}
	pick := func(match func(Port) bool) (uint16, bool) {
		i := slices.IndexFunc(tcp, match)
		if i < 0 {
			return 0, false
		}
		return tcp[i].Number, true
	}
	for _, match := range []func(Port) bool{
		func(p Port) bool { return p.Number == 80 },
		func(p Port) bool { return p.Number == 8080 },
		func(p Port) bool { return len(p.Published) > 0 && p.Number != 443 },
		func(p Port) bool { return p.Number != 443 },
		func(Port) bool { return true },
	} {
		if port, ok := pick(match); ok {
			return port, port == 443, true
		}
	}
	return 0, false, false
}

// Backend is where HTTP requests for the container go: host:port. A fault says why there is none.
func (c Container) Backend() (address string, tls bool, err error) {
	if !c.Running() {
		return "", false, &fault.Error{
			Code: "not-running", Summary: fmt.Sprintf("the container %s is %s", c.Name, c.State), Hint: "docker start " + c.Name,
		}
	}
	port, tls, ok := c.HTTP()
	if !ok {
		return "", false, &fault.Error{
			Code:    "no-port",
			Summary: fmt.Sprintf("the container %s neither exposes nor publishes a TCP port", c.Name),
			Hint:    "write EXPOSE 80 in its Dockerfile, or docker run --expose 80",
		}
	}
	if c.Address.IsValid() {
		return netip.AddrPortFrom(c.Address, port).String(), tls, nil
	}
	for _, p := range c.Ports {
		if p.Number == port && p.Protocol == "tcp" && len(p.Published) > 0 {
			return local(p.Published[0]), tls, nil
		}
	}
	return "", false, &fault.Error{
		Code: "no-address", Summary: fmt.Sprintf("the container %s has no address that this host reaches", c.Name),
		Hint: "publish its port: docker run -p " + strconv.Itoa(int(port)),
	}
}

// local is an address to connect to, for one that was listened on.
func local(a netip.AddrPort) string {
	if a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port()).String()
	}
	return a.String()
}

// HostName is the container's name before .docker.localhost.
func (c Container) HostName() string { return c.HostNames()[0] + ".docker" }

// Ways lists every way to reach the container, the best for a program first. doorPort is the front
// door's; 0: it is closed.
func (c Container) Ways(doorPort int) []reach.Way {
	var ways []reach.Way
	if !c.Running() {
		return ways
	}
	first, _, hasHTTP := c.HTTP()
	ports := slices.Clone(c.Ports)
	slices.SortStableFunc(ports, func(a, b Port) int { // the one that is meant comes first
		if hasHTTP && a.Protocol == "tcp" && a.Number == first {
			return -1
		}
		if hasHTTP && b.Protocol == "tcp" && b.Number == first {
			return 1
		}
		return 0
	})
	for _, p := range ports {
		if c.Address.IsValid() {
			ways = append(ways, reach.Way{Kind: reach.Container, URL: locate(netip.AddrPortFrom(c.Address, p.Number).String(), p)})
		}
	}
	if _, _, err := c.Backend(); err == nil && doorPort != 0 {
		for _, name := range c.HostNames() {
			ways = append(ways, reach.ThroughDoor(name+".docker", doorPort))
		}
	}
	for _, p := range ports {
		for _, address := range p.Published {
			// The kernel cannot translate ::1 (docs/adr/0010): what is published there is the IPv4 one's twin.
			if address.Addr().Is6() && (address.Addr().IsUnspecified() || address.Addr().IsLoopback()) {
				continue
			}
			ways = append(ways, reach.Way{Kind: reach.Published, URL: locate(local(address), p)})
		}
	}
	return ways
}

func locate(address string, p Port) string {
	switch {
	case p.Protocol != "tcp":
		return address + "/" + p.Protocol
	case p.Number == 443:
		return "https://" + address
	default:
		return "http://" + address
	}
}

// Addresses is what is known of how to reach it.
func (c Container) Addresses(doorPort int) Addresses {
	a := Addresses{Name: c.Name, State: c.State, Ways: c.Ways(doorPort)}
	if a.Ways == nil {
		a.Ways = []reach.Way{}
	}
	a.URLs = reach.URLs(a.Ways)
	if _, _, err := c.Backend(); err != nil {
		a.Note = err.Error()
	}
	return a
}

// Lookup asks the dockerd at this socket. A container that is not there is a fault that lists near names.
func Lookup(ctx context.Context, socket, name string) (Container, error) {
	docker, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return Container{}, fmt.Errorf("connect to dockerd: %w", err)
	}
	defer docker.Close()
	all, err := List(ctx, docker)
	if err != nil {
		return Container{}, unreachable(err)
	}
	if c, ok := Find(all, name); ok {
		return c, nil
	}
	// Not the beginning of an ID: that of a container that is gone could be another's name.
	names := make([]string, len(all))
	for i, c := range all {
		names[i] = c.Name
	}
	f := &fault.Error{Code: "no-container", Summary: "there is no container " + name, Hint: "docker ps --all"}
	if near := spelling.Near(name, names, 3); len(near) > 0 {
		f.Hint = "boxyard url " + strings.Join(near, ", or boxyard url ")
	}
	return Container{}, f
}

func unreachable(err error) error {
	if client.IsErrConnectionFailed(err) {
		return &fault.Error{
			Code: "not-running", Summary: "Docker is not running", Hint: "boxyard status",
			Exit: fault.ExitNotRunning, Cause: err,
		}
	}
	return err
}
