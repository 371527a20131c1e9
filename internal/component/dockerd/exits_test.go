package dockerd

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestListenerOf(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if _, err := listenerOf(socket); err == nil {
		t.Error("no server was found")
	}
	listen := func() net.Listener {
		t.Helper()
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	identity := func() listener {
		t.Helper()
		id, err := listenerOf(socket)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := listen()
	one := identity()
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	if identity() != one {
		t.Error("a server that sets its socket's mode is another one")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := listen()
	if identity() == one {
		t.Error("the next server is the same")
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}
