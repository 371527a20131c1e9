package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/boxyard/boxyard/internal/host"
)

// listen opens the port on both loopback addresses, or on neither: a browser takes either, and would
// meet now us and now somebody else. A host without IPv6 has one.
func listen(ctx context.Context, port int) ([]net.Listener, error) {
	var open []net.Listener
	for _, address := range []string{"127.0.0.1", "::1"} {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err == nil {
			open = append(open, local{l.(*net.TCPListener)})
			continue
		}
		if len(open) > 0 && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)) {
			continue
		}
		for _, l := range open {
			_ = l.Close()
		}
		return nil, err
	}
	return open, nil
}

// taken is the sentence for people.
func taken(port int, err error) string {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Sprintf("port %d cannot be had, so names under .localhost are not served: %v", port, err)
	}
	return fmt.Sprintf("port %d is in use by %s, so names under .localhost are not served; stop it, or set frontDoor.port in config.yaml",
		port, host.LoopbackHolder(port))
}

func claimed(port int, container string) string {
	return fmt.Sprintf("port %d is published by the container %s, so names under .localhost are not served; remove it, or set frontDoor.port in config.yaml", port, container)
}

// local is a listener that takes connections from this host only. The kernel sees to that by itself,
// unless route_localnet is set on an interface, as dockerd does on its bridges.
type local struct{ *net.TCPListener }

// Accept implements net.Listener.
func (l local) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if from, ok := conn.RemoteAddr().(*net.TCPAddr); ok && from.IP.IsLoopback() {
			return newConnection(conn), nil
		}
		_ = conn.Close()
	}
}
