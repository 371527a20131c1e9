package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/paths"
)

func layout(t *testing.T) paths.Layout {
	t.Helper()
	dir := t.TempDir()
	return paths.Layout{
		Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run"),
		Config: filepath.Join(dir, "etc"), Log: filepath.Join(dir, "log"),
	}
}

func TestOneDaemonAtATime(t *testing.T) {
	l := layout(t)
	if Running(l) {
		t.Error("running before the first")
	}
	f, err := lock(l)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock(l)
	if fault.Code(err) != "already-running" || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("the second daemon got %v", err)
	}
	if !Running(l) {
		t.Error("not running while locked")
	}
	_ = f.Close()
	if Running(l) {
		t.Error("running after the end")
	}
	again, err := lock(l)
	if err != nil {
		t.Fatalf("a file left behind is no lock: %v", err)
	}
	_ = again.Close()
}

func TestSecondUpWaitsForTheFirst(t *testing.T) {
	l := layout(t)
	unlock, err := LockStart(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := LockStart(cancelled, l); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unlock()
	second, err := LockStart(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	second()
}

func TestFaultReachesTheNextCommand(t *testing.T) {
	l := layout(t)
	if err := TakeFault(l); err != nil {
		t.Errorf("nothing was recorded: %v", err)
	}
	if err := RecordFault(l, &fault.Error{Code: "port-in-use", Summary: "port 6443 is in use", Hint: "h", Exit: 2}); err != nil {
		t.Fatal(err)
	}
	err := TakeFault(l)
	if fault.Code(err) != "port-in-use" || fault.ExitCode(err) != 2 {
		t.Errorf("got %v", err)
	}
	if err := TakeFault(l); err != nil {
		t.Errorf("it was not forgotten: %v", err)
	}
}

func TestEventLogGivesPastAndLiveEvents(t *testing.T) {
	l := newEventLog()
	for i := range keptEvents + 5 {
		l.add(controlapi.Event{Reason: strconv.Itoa(i)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	events := l.follow(ctx)
	if e := <-events; e.Reason != "5" {
		t.Errorf("the oldest kept is %s", e.Reason)
	}
	for range keptEvents - 1 {
		<-events
	}
	l.add(controlapi.Event{Reason: "live"})
	if e := <-events; e.Reason != "live" {
		t.Errorf("got %s", e.Reason)
	}
	cancel()
	for range events { // ends when the channel is closed
	}
	last := l.follow(t.Context())
	l.end()
	n := 0
	for range last {
		n++
	}
	if n != keptEvents {
		t.Errorf("a reader of an ended log had %d events", n)
	}
}
