package frontdoor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// anyPort is one that nobody had a moment ago.
func anyPort(t *testing.T) (int, net.Listener) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().(*net.TCPAddr).Port, l
}

func TestListenOnBothOrNeither(t *testing.T) {
	port, other := anyPort(t)
	if open, err := listen(t.Context(), port); !errors.Is(err, syscall.EADDRINUSE) || open != nil {
		t.Fatalf("got %v, %v", open, err)
	}
	said := taken(port, syscall.EADDRINUSE)
	for _, word := range []string{"port " + strconv.Itoa(port) + " is in use by", "(pid " + strconv.Itoa(os.Getpid()) + ")", "frontDoor.port"} {
		if !strings.Contains(said, word) {
			t.Errorf("it says %q, without %q", said, word)
		}
	}
	_ = other.Close()
	six, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("::1", strconv.Itoa(port)))
	if err != nil {
		t.Skip("no IPv6 here")
	}
	if open, err := listen(t.Context(), port); !errors.Is(err, syscall.EADDRINUSE) || open != nil {
		t.Fatalf("with ::1 in use: %v, %v", open, err)
	}
	_ = six.Close()
	open, err := listen(t.Context(), port)
	if err != nil || len(open) != 2 {
		t.Fatalf("got %v, %v", open, err)
	}
	for _, l := range open {
		_ = l.Close()
	}
}

// start runs a component whose claims the test has in its hands.
func start(t *testing.T, c *Component, claims *claims) (ready *atomic.Bool) {
	t.Helper()
	ready = new(atomic.Bool)
	ctx, cancel := context.WithCancel(t.Context())
	server := newServer(ctx, &handler{log: c.o.Logger})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.keepOpen(ctx, server, claims, func() { ready.Store(true) })
		_ = shutdown(ctx, server)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return ready
}

// fakeListener accepts nobody.
type fakeListener struct{ closed chan struct{} }

func (f fakeListener) Accept() (net.Conn, error) { <-f.closed; return nil, net.ErrClosed }
func (f fakeListener) Addr() net.Addr            { return &net.TCPAddr{} }
func (f fakeListener) Close() error {
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	return nil
}

func TestPortIsTakenWhenItIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Port: 80, Logger: slog.New(slog.DiscardHandler)})
		var inUse atomic.Bool
		inUse.Store(true)
		c.listen = func(context.Context, int) ([]net.Listener, error) {
			if inUse.Load() {
				return nil, syscall.EADDRINUSE
			}
			return []net.Listener{fakeListener{make(chan struct{})}}, nil
		}
		ready := start(t, c, newClaims())
		synctest.Wait()
		if !ready.Load() || c.Port() != 0 || !strings.Contains(c.Warning(), "port 80 is in use by") {
			t.Errorf("ready %v, port %d, %q", ready.Load(), c.Port(), c.Warning())
		}
		inUse.Store(false)
		time.Sleep(retryEvery + time.Millisecond)
		synctest.Wait()
		if c.Port() != 80 || c.Warning() != "" {
			t.Errorf("port %d, %q", c.Port(), c.Warning())
		}
	})
}

func TestContainersGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Port: 80, Logger: slog.New(slog.DiscardHandler)})
		var held atomic.Int32
		c.listen = func(context.Context, int) ([]net.Listener, error) {
			held.Add(1)
			return []net.Listener{fakeListener{make(chan struct{})}}, nil
		}
		claims := newClaims()
		claims.replace(map[string]string{"1": "proxy"})
		ready := start(t, c, claims)
		synctest.Wait()
		if !ready.Load() || held.Load() != 0 || !strings.Contains(c.Warning(), "published by the container proxy") {
			t.Errorf("ready %v, held %d, %q", ready.Load(), held.Load(), c.Warning())
		}
		claims.remove("1")
		synctest.Wait()
		if c.Port() != 80 || c.Warning() != "" || held.Load() != 1 {
			t.Errorf("port %d, %q", c.Port(), c.Warning())
		}
		claims.change(func() {}) // of no consequence
		synctest.Wait()
		if held.Load() != 1 {
			t.Error("it let go for nothing")
		}
		claims.add("2", "web")
		synctest.Wait()
		if c.Port() != 0 || !strings.Contains(c.Warning(), "the container web") {
			t.Errorf("port %d, %q", c.Port(), c.Warning())
		}
	})
}

func TestRun(t *testing.T) {
	port, other := anyPort(t)
	_ = other.Close()
	c := New(Options{Port: port, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() { ended <- c.Run(ctx, func() { ready <- struct{}{} }) }()
	<-ready
	if c.Port() != port {
		t.Fatalf("port %d, %q", c.Port(), c.Warning())
	}
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		res, err := http.Get("http://" + host + ":" + strconv.Itoa(port)) //nolint:noctx
		if err != nil {
			if host == "[::1]" {
				continue // no IPv6 here
			}
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 404 || !strings.Contains(string(body), "no Services") {
			t.Errorf("%s: %d %s", host, res.StatusCode, body)
		}
	}
	cancel()
	if err := <-ended; err != nil || c.Port() != 0 {
		t.Errorf("ended with %v, port %d", err, c.Port())
	}
}
