package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/paths"
)

// lock makes this the only daemon of the layout for as long as the file is open. The kernel
// lets go of it however we end.
func lock(l paths.Layout) (*os.File, error) {
	if err := os.MkdirAll(l.Run, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(l.LockFile(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer func() { _ = f.Close() }()
		return nil, alreadyRunning(l)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", l.LockFile(), err), f.Close())
	}
	if err := writePID(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return err
}

func alreadyRunning(l paths.Layout) error {
	who := "another process"
	if data, err := os.ReadFile(l.LockFile()); err == nil {
		who = "pid " + strings.TrimSpace(string(data))
	}
	return &fault.Error{
		Code:    "already-running",
		Summary: fmt.Sprintf("another Boxyard daemon uses %s (%s)", l.Run, who),
		Hint:    "boxyard status",
	}
}

// Running says whether a daemon holds the lock, without waiting for its control socket.
func Running(l paths.Layout) bool {
	f, err := os.Open(l.LockFile())
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	// The lock is ours for an instant at most; a shared one, so that two askers do not see each other.
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// AwaitEnd waits until no daemon runs, at most so long: one that has closed its control API is still
// about to end, and has not ended yet when it gives up its lock.
func AwaitEnd(ctx context.Context, l paths.Layout, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	pid := ""
	for {
		if data, err := os.ReadFile(l.LockFile()); err == nil {
			pid = strings.TrimSpace(string(data))
		}
		if !Running(l) && !executes(pid) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// executes says whether the process is there and is a daemon: one that waits to be reaped has no
// command line, and another may have its number by now.
func executes(pid string) bool {
	if pid == "" {
		return false
	}
	cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline")
	return err == nil && strings.Contains(string(cmdline), "\x00daemon\x00")
}

// LockStart lets one `boxyard up` at a time look for the daemon and start it. The second waits and
// then finds the daemon of the first.
func LockStart(ctx context.Context, l paths.Layout) (unlock func(), err error) {
	if err := os.MkdirAll(l.Run, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(l.Run, "up.lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}

// faultFile keeps why a daemon ended before it served, for the `up` that started it.
func faultFile(l paths.Layout) string { return filepath.Join(l.Run, "daemon-fault.json") }

// RecordFault leaves err for TakeFault.
func RecordFault(l paths.Layout, cause error) error {
	data, err := json.Marshal(controlapi.FromError(cause))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.Run, 0o755); err != nil {
		return err
	}
	return atomicfile.Write(faultFile(l), data, 0o600)
}

// TakeFault returns and forgets why the last daemon did not start; nil when it left nothing.
func TakeFault(l paths.Layout) error {
	data, err := os.ReadFile(faultFile(l))
	if err != nil {
		return nil //nolint:nilerr // No file is the ordinary case: nothing was left.
	}
	_ = os.Remove(faultFile(l))
	var e controlapi.Error
	if json.Unmarshal(data, &e) != nil {
		return nil
	}
	return e.Fault()
}
