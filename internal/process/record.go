package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

// record is the file StateDir/NAME.json: which process is ours.
type record struct {
	// PID is 0 from just before a start until the child is known: if we die in between, the next
	// Start looks for it.
	PID        int       `json:"pid"`
	StartTime  uint64    `json:"startTime"` // of the process, in clock ticks since boot
	BootID     string    `json:"bootID"`
	Executable string    `json:"executable"`
	ArgsHash   string    `json:"argsHash"`
	Version    string    `json:"version"`
	StartedAt  time.Time `json:"startedAt"`
}

func recordFile(s Spec) string { return filepath.Join(s.StateDir, s.Name+".json") }

// readRecord returns nil when there is none, or none that can be read: then a child that runs is
// found by its environment.
func readRecord(s Spec) (*record, error) {
	data, err := os.ReadFile(recordFile(s))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of %s: %w", s.Name, err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		s.Logger.Warn("ignore a broken record", "component", s.Name, "error", err)
		return nil, nil
	}
	return &r, nil
}

func (r record) write(s Spec) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(recordFile(s), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("record %s: %w", s.Name, err)
	}
	return nil
}

// remove deletes the record unless it has come to speak of another process.
func (r record) remove(s Spec) error {
	now, err := readRecord(s)
	if err != nil || now == nil || now.PID != r.PID || now.StartTime != r.StartTime {
		return err
	}
	return os.Remove(recordFile(s))
}

// lock keeps a start from overlapping with one of an earlier daemon that was killed in the middle of
// it: a child that is forked but does not run its own file yet cannot be found by its environment.
// It has our descriptors until then, and with them holds the lock.
func lock(s Spec) (unlock func(), err error) {
	path := filepath.Join(s.StateDir, s.Name+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // Go sets close-on-exec
	if err != nil {
		return nil, fmt.Errorf("lock the start of %s: %w", s.Name, err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the start of %s: %w", s.Name, err), f.Close())
		}
		return func() { _ = f.Close() }, nil
	}
}
