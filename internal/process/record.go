package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

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
