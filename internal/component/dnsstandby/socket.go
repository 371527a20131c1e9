package dnsstandby

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// group is one SO_REUSEPORT group of two sockets: ours and that of the dns process. The kernel keeps them
// in the order in which they were opened, closes the gap when one goes, and lets a classic BPF program pick
// an index; an index beyond the end means any (net/core/sock_reuseport.c).
type group struct {
	status string

	mu    sync.Mutex
	conn  syscall.RawConn
	other int // the index of the other socket
}

func newGroup(status string) *group {
	g := &group{status: status, other: 1}
	if g.alive() {
		g.other = 0 // it was there before us
	}
	return g
}

func (g *group) listenPacket(ctx context.Context, address string) (net.PacketConn, error) {
	config := net.ListenConfig{Control: share}
	conn, err := config.ListenPacket(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	if err := g.own(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

func (g *group) listen(ctx context.Context, address string) (net.Listener, error) {
	config := net.ListenConfig{Control: share}
	config.SetMultipathTCP(false) // the kernel takes the filter on plain TCP only
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := g.own(listener); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// own remembers our socket and tells the kernel to prefer the other.
func (g *group) own(socket any) error {
	conn, ok := socket.(syscall.Conn)
	if !ok {
		return errors.New("the socket has no descriptor")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = raw
	return g.attach()
}

// yield makes the kernel choose the other socket if the dns process lives. It is called with each query
// that reached us.
func (g *group) yield() error {
	if !g.alive() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.other = 1 - g.other
	return g.attach()
}

// attach sets the program "return the other's index".
func (g *group) attach() error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: uint32(g.other)}}
	var failed error
	err := g.conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
	return errors.Join(err, failed)
}

// alive says whether the dns process takes connections on its status socket.
func (g *group) alive() bool {
	dialer := net.Dialer{Timeout: 100 * time.Millisecond}
	conn, err := dialer.DialContext(context.Background(), "unix", g.status)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// share lets the socket join the group, and bind an IPv6 address that is not yet settled.
func share(_, _ string, conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1))
	})
	return errors.Join(err, failed)
}
