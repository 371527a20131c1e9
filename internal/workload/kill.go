package workload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// KillAll ends, at once and without asking, the shims of the containerd at socket and every process
// in the given cgroups (relative to the roots of the hierarchies, as in RemoveCgroups). It needs
// no containerd. It waits until they are gone or ctx ends.
//
// A shim is known by its executable's file name together with the socket in its -address argument, and by
// living in our mount namespace: another instance may have the same path in its own.
func KillAll(ctx context.Context, socket string, cgroups ...string) error {
	return killAll(ctx, "/proc", CgroupMounts, socket, cgroups)
}

func killAll(ctx context.Context, proc string, mounts func() ([]string, error), socket string, cgroups []string) error {
	hierarchies, err := mounts()
	if err != nil {
		return err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// Shims first: a shim that sees its container end would do its own cleaning up meanwhile.
		pids, err := shims(proc, socket)
		if err != nil {
			return err
		}
		for _, h := range hierarchies {
			for _, c := range cgroups {
				pids = append(pids, cgroupPIDs(filepath.Join(h, c))...)
			}
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() })
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes %v are still there after SIGKILL: %w", pids, ctx.Err())
		case <-tick.C:
		}
	}
}

// EndShims asks the shims of the containerd at socket that serve many containers (runtime/shim) to end, which they do
// when they have none, and waits until they are gone or ctx ends. Left alone they would wait for the next container
// for a while. Upstream's end with their container.
func EndShims(ctx context.Context, socket string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		pids, err := findShims("/proc", func(args []string) bool { return isShim(args, socket) && option(args, "-id") == "boxyard" })
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGUSR2); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end shim %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the shims %v do not end: %w", pids, ctx.Err())
		case <-tick.C:
		}
	}
}

// shims finds the live shims of the containerd at socket.
func shims(proc, socket string) ([]int, error) {
	return findShims(proc, func(args []string) bool { return isShim(args, socket) })
}

// findShims finds processes in our mount namespace by their command line.
func findShims(proc string, match func(args []string) bool) ([]int, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	ours, err := os.Readlink(filepath.Join(proc, "self", "ns", "mnt"))
	if err != nil {
		return nil, fmt.Errorf("read our mount namespace: %w", err)
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process may end between any two of these reads: what cannot be read is not there.
		line, err := os.ReadFile(filepath.Join(proc, e.Name(), "cmdline"))
		if err != nil || !match(strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")) {
			continue
		}
		ns, err := os.Readlink(filepath.Join(proc, e.Name(), "ns", "mnt"))
		if err == nil && ns == ours {
			found = append(found, pid)
		}
	}
	return found, nil
}

// isShim reads a command line as containerd builds it (core/runtime/v2/command.go). A zombie's is empty.
func isShim(args []string, socket string) bool {
	return filepath.Base(args[0]) == "containerd-shim-runc-v2" && option(args, "-address") == socket
}

// option gives the argument that follows name, or "".
func option(args []string, name string) string {
	if i := slices.Index(args, name); i > 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// cgroupPIDs lists the processes in dir and beneath it. A cgroup that is gone has none.
func cgroupPIDs(dir string) []int {
	var pids []int
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for f := range bytes.FieldsSeq(data) {
			if pid, err := strconv.Atoi(string(f)); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}
