package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/pki"
	"github.com/boxyard/boxyard/internal/supervisor"
	sdnotify "github.com/coreos/go-systemd/v22/daemon"
)

// Options is what the command line has decided.
type Options struct {
	Layout paths.Layout
	Config config.Config
	// Chosen are the keys of Config that the user set.
	Chosen map[string]bool
	// PayloadDir has the parts' binaries; "" takes them out of Exe.
	PayloadDir string
	Exe        string
	Log        *slog.Logger
}

// daemon is one run of the daemon.
type daemon struct {
	o      Options
	began  time.Time
	events *eventLog
	stop   context.CancelFunc // asks everything to stop
	over   chan struct{}      // closed when everything has stopped

	mu      sync.Mutex
	phase   string
	keep    bool // containers and pods go on
	machine *machine
	sup     *supervisor.Supervisor
	stopErr error // valid after over is closed
}

// Run is the daemon, until it is told to stop: through the control API, or by ctx. The end of ctx
// (SIGTERM) leaves containers and pods running. Another daemon of the same layout is a fault.
func Run(ctx context.Context, o Options) error {
	held, err := lock(o.Layout)
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	d := &daemon{
		o: o, began: time.Now(), events: newEventLog(), stop: stop, over: make(chan struct{}), phase: controlapi.PhaseStarting,
	}
	defer context.AfterFunc(ctx, func() { d.requestStop(true) })()
	closeAPI, err := d.serve(ctx)
	if err != nil {
		return err
	}
	err = d.live(work)
	if err != nil {
		// Before the events end: an `up` that follows them asks for the reason then.
		err = errors.Join(err, RecordFault(o.Layout, err))
	}
	if err != nil && !d.ran() {
		// Before the API closes: whoever waits there looks for the reason then.
		err = errors.Join(err, RecordFault(o.Layout, err))
	}
	d.mu.Lock()
	d.stopErr = err
	d.mu.Unlock()
	close(d.over)
	d.events.end()
	closeAPI()
	if err != nil && d.ran() {
		// It ended because it was told to. Whoever told it has the error; to systemd it is no failure,
		// which would start everything again.
		o.Log.Error("not everything stopped cleanly", "error", err)
		return nil
	}
	return err
}

// serve opens the control API, and returns how to close it: answers under way are finished.
func (d *daemon) serve(ctx context.Context) (closeAPI func(), err error) {
	listener, err := controlapi.Listen(ctx, d.o.Layout.ControlSocket())
	if err != nil {
		return nil, err
	}
	// A user who had access keeps it while the daemon starts; what is wrong with the group is said later.
	if a, err := accessOf(d.o.Layout, d.o.Config); err == nil {
		if err := a.Apply(d.o.Layout.ControlSocket(), 0o660); err != nil {
			d.o.Log.Warn("give access to the control socket", "error", err)
		}
	}
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	server := controlapi.NewServer(streams, d)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			d.o.Log.Error("the control API ended", "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		endStreams()
		_ = listener.Close() // Serve may not have begun; this removes the socket
	}, nil
}

// live prepares the machine, runs its parts until ctx is done, and clears up after them.
func (d *daemon) live(ctx context.Context) error {
	m, err := d.prepare(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop meanwhile: what was interrupted is no error
		}
		return err
	}
	comps, err := Components(m)
	if err != nil {
		return err
	}
	sup, err := supervisor.New(d.o.Log, comps)
	if err != nil {
		return err
	}
	if err := endStrays(ctx, d.o.Layout, comps, d.o.Log); err != nil {
		return err
	}
	d.mu.Lock()
	d.machine, d.sup = m, sup
	if d.phase == controlapi.PhaseStarting {
		d.phase = controlapi.PhaseRunning
	}
	d.mu.Unlock()
	notify("STATUS=starting")

	var background sync.WaitGroup
	background.Go(func() { d.follow(context.WithoutCancel(ctx), m, sup, len(comps)) })
	background.Go(func() { d.renewCertificates(ctx, m) })
	err = sup.Run(ctx)
	background.Wait()
	return errors.Join(err, d.clear(context.WithoutCancel(ctx), m))
}

// renewCertificates does not end the daemon when it cannot: the old ones are good for months.
func (d *daemon) renewCertificates(ctx context.Context, m *machine) {
	for ctx.Err() == nil {
		err := pki.Run(ctx, m.pki, func(names []string) {
			d.o.Log.Info("certificates renewed", "names", names)
			if err := m.publish(); err != nil {
				d.o.Log.Error("publish the kubeconfig", "error", err)
			}
		})
		if err == nil {
			return
		}
		d.o.Log.Error("renew certificates; trying again in an hour", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Hour):
		}
	}
}

// follow copies the supervisor's events to the listeners and tells systemd where things stand, until
// all parts have stopped.
func (d *daemon) follow(ctx context.Context, m *machine, sup *supervisor.Supervisor, parts int) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	told := ""
	for e := range sup.Events(ctx) {
		if e.To == supervisor.Stopped {
			parts--
		}
		if parts == 0 {
			cancel() // this event is the last
		}
		if m.idle(e.Component) {
			continue // it comes and goes with nothing in it
		}
		d.events.add(controlapi.Event{
			Time: e.Time, Component: e.Component, From: string(e.From), To: string(e.To), Reason: e.Reason,
		})
		state := summary(sup.Status())
		if state == told {
			continue
		}
		told = state
		notify("STATUS=" + state)
		if settled(sup.Status()) {
			notify(sdnotify.SdNotifyReady)
		}
	}
}

// settled says that every part is ready, or will not be without help.
func settled(parts []supervisor.Status) bool {
	for _, p := range parts {
		switch p.State {
		case supervisor.Ready, supervisor.Degraded, supervisor.Failed:
		default:
			return false
		}
	}
	return true
}

func summary(parts []supervisor.Status) string {
	ready := 0
	waiting := ""
	for _, p := range parts {
		switch {
		case p.State == supervisor.Ready:
			ready++
		case waiting == "":
			waiting = fmt.Sprintf(", %s is %s", p.Name, p.State)
		}
	}
	return fmt.Sprintf("%d of %d parts are ready%s", ready, len(parts), waiting)
}

// requestStop makes everything stop. The first request decides about the containers.
func (d *daemon) requestStop(keep bool) {
	d.mu.Lock()
	first := d.phase != controlapi.PhaseStopping
	if first {
		d.phase, d.keep = controlapi.PhaseStopping, keep
	}
	d.mu.Unlock()
	if !first {
		return
	}
	d.o.Log.Info("stopping", "keepContainers", keep)
	// A service that ends before it said that it is ready has failed, for systemd, and is restarted.
	notify(sdnotify.SdNotifyReady)
	notify(sdnotify.SdNotifyStopping)
	d.stop()
}

// ran says whether the supervisor took over.
func (d *daemon) ran() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sup != nil
}

func (d *daemon) keepContainers() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keep
}

// notify tells systemd, where it started us and waits for that.
func notify(state string) { _, _ = sdnotify.SdNotify(false, state) }

// clear removes what parts that have ended leave behind. What containers need stays with them.
func (d *daemon) clear(ctx context.Context, m *machine) error {
	if d.keepContainers() {
		return nil
	}
	err := clearRun(ctx, d.o.Layout, m)
	if e := os.Remove(d.o.Layout.ControlSocket()); e != nil && !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}
