package process

import (
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

// The child carries these in its environment, so that it can be found without a record.
const (
	envPart     = "BOXYARD_PART"
	envInstance = "BOXYARD_STATE"
)

func markers(s Spec) []string {
	return []string{envPart + "=" + s.Name, envInstance + "=" + s.StateDir}
}

// adopt returns the process of an earlier daemon that still lives, or nil.
func adopt(s Spec) (*Process, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	r, err := readRecord(s)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		// The record may have been deleted with the child alive. All that is known of it is what we would start.
		r = &record{BootID: boot, ArgsHash: hashArgs(s.argv())}
	case r.BootID != boot:
		return nil, nil
	}
	if r.PID == 0 {
		return find(s, *r)
	}
	fd, err := openVerified(r.PID, r.StartTime)
	if errors.Is(err, os.ErrProcessDone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("adopt %s (pid %d): %w", s.Name, r.PID, err)
	}
	return adopted(s, *r, fd), nil
}

// openVerified opens pid and makes sure that it is still the process that started then, else the
// error is os.ErrProcessDone. The order matters: what the pidfd refers to cannot change after it is open.
func openVerified(pid int, startTime uint64) (*pidfd, error) {
	if pid <= 1 {
		return nil, os.ErrProcessDone // never ours
	}
	fd, err := openPidfd(pid)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: by now the number of a thread
		return nil, os.ErrProcessDone
	}
	if err != nil {
		return nil, err
	}
	st, err := readStat(pid)
	if gone(err) || err == nil && (st.dead || st.startTime != startTime) {
		err = os.ErrProcessDone
	}
	if err != nil {
		fd.close()
		return nil, err
	}
	return fd, nil
}

// gone is true for the errors of reading in /proc about a process that has ended, before or meanwhile.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// find looks through /proc for the child of a start that was cut off, and records it.
func find(s Spec, r record) (*Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", s.Name, err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		st, err := readStat(pid)
		if err != nil || !isChild(s, r, pid, st) {
			continue
		}
		fd, err := openVerified(pid, st.startTime)
		if err != nil {
			continue
		}
		r.PID, r.StartTime = pid, st.startTime
		if r.StartedAt.IsZero() {
			r.StartedAt = time.Now()
		}
		if r.Executable, err = os.Readlink(procFile(pid, "exe")); err != nil {
			fd.close()
			continue
		}
		if err := r.write(s); err != nil {
			fd.close()
			return nil, err
		}
		return adopted(s, r, fd), nil
	}
	return nil, nil
}

// isChild tells the child from its own children, which inherit its environment: only the child
// leads a session and has these arguments.
func isChild(s Spec, r record, pid int, st stat) bool {
	if st.dead || st.session != pid {
		return false
	}
	environ, err := os.ReadFile(procFile(pid, "environ"))
	if err != nil {
		return false
	}
	env := strings.Split(string(environ), "\x00")
	for _, m := range markers(s) {
		if !slices.Contains(env, m) {
			return false
		}
	}
	args, err := hashCmdline(pid)
	return err == nil && args == r.ArgsHash && sameMounts(pid)
}

// sameMounts is false for a process of another, confined instance: it has the same paths as ours
// and means other files.
func sameMounts(pid int) bool {
	ours, err := os.Readlink(filepath.Join("/proc", "self", "ns", "mnt"))
	if err != nil {
		return false
	}
	theirs, err := os.Readlink(procFile(pid, "ns/mnt"))
	return err == nil && ours == theirs
}

func adopted(s Spec, r record, fd *pidfd) *Process {
	if r.ArgsHash != hashArgs(s.argv()) {
		s.Logger.Warn("adopted a process with other arguments; the new ones count from its next start", "component", s.Name)
	}
	p := newProcess(s, r, fd)
	p.adopted = true
	go p.watch(func() string {
		if err := fd.wait(); err != nil {
			return err.Error()
		}
		return "its exit status is unknown, it was started by an earlier daemon"
	})
	return p
}
