package controlapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/disk"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/registry"
)

type fake struct {
	status    Status
	events    []Event
	down      chan DownRequest
	restarted chan string
	err       error
}

func (f *fake) Status(context.Context) Status { return f.status }
func (f *fake) Disk(context.Context) (disk.Report, error) {
	return disk.Report{Uses: []disk.Use{{Name: "images", Bytes: 7}}, FreeBytes: 9}, nil
}

func (f *fake) Registry(_ context.Context, change registry.Change) (registry.State, error) {
	return registry.State{On: change.On != nil && *change.On, Address: "localhost:5000"}, f.err
}

func (f *fake) Versions() map[string]string { return map[string]string{"docker": "30"} }

func (f *fake) Down(_ context.Context, r DownRequest) error {
	f.down <- r
	return f.err
}

func (f *fake) Restart(_ context.Context, name string) error {
	f.restarted <- name
	return f.err
}

func (f *fake) Events(ctx context.Context) <-chan Event {
	ch := make(chan Event)
	go func() {
		defer close(ch)
		for _, e := range f.events {
			select {
			case ch <- e:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}()
	return ch
}

func serve(t *testing.T, b Backend) (*Client, context.CancelFunc) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := NewServer(ctx, b)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return NewClient(path), cancel
}

func TestRoundTrips(t *testing.T) {
	f := &fake{
		status: Status{Ready: true, Phase: PhaseRunning, PID: 7, Components: []ComponentStatus{
			{Name: "cluster", State: "ready", Since: time.Unix(1, 0).UTC(), MemoryBytes: 5},
		}},
		down: make(chan DownRequest, 1), restarted: make(chan string, 1),
	}
	c, _ := serve(t, f)
	got, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f.status, got); d != "" {
		t.Error(d)
	}
	v, err := c.Versions(t.Context())
	if err != nil || v["docker"] != "30" {
		t.Errorf("versions: %v, %v", v, err)
	}
	if err := c.Down(t.Context(), DownRequest{KeepContainers: true}); err != nil {
		t.Fatal(err)
	}
	if r := <-f.down; !r.KeepContainers {
		t.Error("KeepContainers was lost")
	}
	if err := c.Restart(t.Context(), "a b"); err != nil {
		t.Fatal(err)
	}
	if n := <-f.restarted; n != "a b" {
		t.Errorf("restarted %q", n)
	}
}

func TestFaultsKeepCodeHintAndExit(t *testing.T) {
	f := &fake{restarted: make(chan string, 1), err: &fault.Error{
		Code: "no-component", Summary: `no part is called "x"`, Hint: "boxyard status", Exit: fault.ExitUsage, Cause: errors.New("why"),
	}}
	c, _ := serve(t, f)
	err := c.Restart(t.Context(), "x")
	var got *fault.Error
	if !errors.As(err, &got) {
		t.Fatalf("%T: %v", err, err)
	}
	want := &fault.Error{Code: "no-component", Summary: `no part is called "x": why`, Hint: "boxyard status", Exit: fault.ExitUsage}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestJoinedFaultsAllArrive(t *testing.T) {
	err := FromError(errors.Join(
		&fault.Error{Code: "a", Summary: "first", Exit: 4}, &fault.Error{Code: "b", Summary: "second", Hint: "h"},
	)).Fault()
	if fault.Code(err) != "a" || fault.ExitCode(err) != 4 || err.Error() != "first\nsecond" {
		t.Errorf("got %v", err)
	}
}

func TestPlainErrorsAreInternal(t *testing.T) {
	f := &fake{down: make(chan DownRequest, 1), err: errors.New("disk full")}
	c, _ := serve(t, f)
	err := c.Down(t.Context(), DownRequest{})
	if fault.Code(err) != "internal" || err.Error() != "disk full" {
		t.Errorf("%q: %v", fault.Code(err), err)
	}
}

func TestUnknownPath(t *testing.T) {
	c, _ := serve(t, &fake{})
	if err := c.call(t.Context(), "GET", "/v2/x", nil, nil); fault.Code(err) != "bad-request" {
		t.Error(err)
	}
}

func TestEvents(t *testing.T) {
	f := &fake{events: []Event{{Component: "a", To: "starting"}, {Component: "a", To: "ready", Reason: "because"}}}
	c, stopServer := serve(t, f)
	var got []Event
	err := c.Events(t.Context(), func(e Event) bool {
		got = append(got, e)
		return len(got) < 2
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(f.events, got); d != "" {
		t.Error(d)
	}
	n := 0
	err = c.Events(t.Context(), func(Event) bool {
		if n++; n == 2 {
			stopServer()
		}
		return true
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after the server has gone: %v", err)
	}
}

func TestDaemonAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	if _, err := NewClient(path).Status(t.Context()); fault.ExitCode(err) != fault.ExitNotRunning {
		t.Errorf("no socket: %v", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewClient(path).Status(t.Context()); fault.Code(err) != "not-running" {
		t.Errorf("stale socket: %v", err)
	}
	dying, err := lc.Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "d.sock"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := dying.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	if _, err := NewClient(dying.Addr().String()).Status(t.Context()); fault.Code(err) != "not-running" {
		t.Errorf("a daemon that ends while it is asked: %v", err)
	}
	_ = dying.Close()
	c := NewClient(path)
	if err := c.unreachable(t.Context(), os.ErrPermission); fault.ExitCode(err) != fault.ExitNeedsRoot {
		t.Errorf("no permission: %v", err)
	}
	if _, err := Listen(t.Context(), path); err != nil {
		t.Errorf("a stale socket is replaced: %v", err)
	}
}
