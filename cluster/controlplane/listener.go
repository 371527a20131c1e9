package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// listener joins several TCP listeners into one, since kube-apiserver takes a
// single listener and we listen on loopback and on the node's address only.
type listener struct {
	parts  []net.Listener
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// listen opens the port on every address. Its Addr is that of the first.
func listen(ctx context.Context, addresses []string, port int) (*listener, error) {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	for _, address := range addresses {
		config := net.ListenConfig{Control: freebind}
		part, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for the API: %w", err), l.Close())
		}
		l.parts = append(l.parts, part)
	}
	for _, part := range l.parts {
		go l.accept(part)
	}
	return l, nil
}

// freebind lets us listen on an IPv6 address that the kernel still checks for duplicates.
func freebind(_, _ string, conn syscall.RawConn) error {
	var failed error
	err := conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
	})
	return errors.Join(err, failed)
}

func (l *listener) accept(part net.Listener) {
	for {
		conn, err := part.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // such as a connection that was reset before we took it
		}
		select {
		case l.conns <- conn:
		case <-l.closed:
			_ = conn.Close()
			return
		}
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; it closes every part.
func (l *listener) Close() error {
	var errs []error
	l.once.Do(func() {
		close(l.closed)
		for _, part := range l.parts {
			errs = append(errs, part.Close())
		}
	})
	return errors.Join(errs...)
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.parts[0].Addr() }
