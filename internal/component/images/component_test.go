package images

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"
)

// testSession is one connection of the component under test.
type testSession struct {
	events chan *events.Envelope
	broken chan error
}

func (s testSession) send(t *testing.T, event any) {
	t.Helper()
	body, err := typeurl.MarshalAny(event)
	must(t, err)
	s.events <- &events.Envelope{Namespace: namespace, Event: body}
}

// start connects a component, without its mirror, to f.
func start(t *testing.T, f *fake, sessions <-chan testSession) (c *Component, ready *atomic.Int32, stop func() error) {
	t.Helper()
	dir := t.TempDir()
	c = New(Options{DataDir: dir, InUseFile: filepath.Join(dir, "images-in-use.json"), BaseImages: []string{pause}})
	must(t, os.WriteFile(c.options.InUseFile, []byte(`{"images":["hello"]}`), 0o600))
	c.dial = func(ctx context.Context) (*backend, error) {
		select {
		case s := <-sessions:
			subscribe := func(context.Context, ...string) (<-chan *events.Envelope, <-chan error) { return s.events, s.broken }
			return &backend{store: f.store(), subscribe: subscribe, close: func() {}}, nil
		default:
			return nil, errors.New("connection refused")
		}
	}
	p, err := openProvenance(filepath.Join(dir, "local.json"), time.Now)
	must(t, err)
	g, err := openGuard(filepath.Join(dir, "guarded.json"), c.options.BaseImages, p, quiet())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ready = new(atomic.Int32)
	done := make(chan error, 1)
	go func() {
		done <- c.reconnect(ctx, func(b *backend, connected func()) error {
			return c.session(ctx, b, g, nil, nil, func() {
				connected()
				ready.Add(1)
			})
		})
	}()
	return c, ready, func() error {
		cancel()
		return <-done
	}
}

func TestEventsAreHandledAndContainerdMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.tag(pause, f.manifest(t, "pause"), nil)
		sessions := make(chan testSession, 1)
		c, ready, stop := start(t, f, sessions)
		time.Sleep(5 * time.Second)
		if c.CheckHealth(t.Context()) == nil || c.WaitingFor() != "containerd (connection refused)" || ready.Load() != 0 {
			t.Errorf("waits for %q, ready %d", c.WaitingFor(), ready.Load())
		}
		first := testSession{make(chan *events.Envelope), make(chan error, 1)}
		sessions <- first
		time.Sleep(2 * time.Second)
		if err := c.CheckHealth(t.Context()); err != nil || ready.Load() != 1 {
			t.Errorf("health %v, ready %d", err, ready.Load())
		}

		f.tag(hello, f.manifest(t, "hello"), nil)
		first.send(t, &eventsapi.ImageCreate{Name: hello})
		synctest.Wait()
		if f.labels(hello)[labelPinned] != "pinned" {
			t.Error("a new image was not pinned")
		}
		f.untag(hello)
		first.send(t, &eventsapi.ImageDelete{Name: hello})
		time.Sleep(2 * restoreDelay)
		if !slices.Contains(f.names(), hello) {
			t.Error("a needed image was not restored")
		}

		first.broken <- errors.New("EOF")
		time.Sleep(5 * time.Second)
		f.untag(hello)
		if c.CheckHealth(t.Context()) == nil {
			t.Error("healthy without containerd")
		}
		sessions <- testSession{make(chan *events.Envelope), make(chan error, 1)}
		time.Sleep(2 * time.Second)
		if err := c.CheckHealth(t.Context()); err != nil || !slices.Contains(f.names(), hello) {
			t.Errorf("after containerd came back: %v, %v", err, f.names())
		}
		must(t, stop())
	})
}

func TestPayloadWithoutTheBaseImagesIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := make(chan testSession, 1)
		sessions <- testSession{}
		_, ready, stop := start(t, newFake(), sessions) // whose load brings nothing
		synctest.Wait()
		if err := stop(); err == nil || ready.Load() != 0 {
			t.Errorf("got %v, ready %d", err, ready.Load())
		}
	})
}
