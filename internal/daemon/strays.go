package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/supervisor"
)

// strayTime is what a part has for its end before it is killed.
const strayTime = 15 * time.Second

// parts reads the records of package process: name to pid. A record may be out of date.
func parts(l paths.Layout) map[string]int {
	files, _ := filepath.Glob(filepath.Join(l.ProcessDir(), "*.json"))
	found := map[string]int{}
	for _, f := range files {
		var record struct{ PID int }
		data, err := os.ReadFile(f)
		if err == nil && json.Unmarshal(data, &record) == nil && record.PID > 1 {
			found[strings.TrimSuffix(filepath.Base(f), ".json")] = record.PID
		}
	}
	return found
}

// ownPIDs are those of parts that an earlier daemon may have left running.
func ownPIDs(l paths.Layout) []int {
	var pids []int
	for _, pid := range parts(l) {
		pids = append(pids, pid)
	}
	return pids
}

// endStrays ends parts of an earlier daemon that this one does not have, and would therefore not
// adopt: `without` has changed over a crash.
func endStrays(ctx context.Context, l paths.Layout, comps []supervisor.Component, log *slog.Logger) error {
	for name, pid := range parts(l) {
		if slices.ContainsFunc(comps, func(c supervisor.Component) bool { return c.Name() == name }) || !isPart(l, name, pid) {
			continue
		}
		log.Info("ending a part that is not wanted any more", "component", name, "pid", pid)
		if err := endProcess(ctx, pid, func() bool { return isPart(l, name, pid) }); err != nil {
			return fmt.Errorf("end %s, which is not wanted any more: %w", name, err)
		}
	}
	return nil
}

// isPart says whether pid still is that part: it carries its name in its environment (package process).
func isPart(l paths.Layout, name string, pid int) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	env := strings.Split(string(environ), "\x00")
	return slices.Contains(env, "BOXYARD_PART="+name) && slices.Contains(env, "BOXYARD_STATE="+l.ProcessDir())
}

// endProcess sends SIGTERM, and SIGKILL when alive goes on to be true.
func endProcess(ctx context.Context, pid int, alive func() bool) error {
	signals := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, sig := range signals {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		for deadline := time.Now().Add(strayTime); time.Now().Before(deadline); {
			if !alive() {
				return nil
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return fmt.Errorf("process %d is still there after SIGKILL", pid)
}
