package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Process is one process of an instance.
type Process struct {
	PID    int
	Parent int    // its parent's pid
	Name   string // base name of argv[0]
	Args   string
}

// String is for messages.
func (p Process) String() string { return fmt.Sprintf("%s (pid %d)", p.Name, p.PID) }

// Processes lists everything of this instance: what runs in its namespaces, and what runs in
// its cgroups, which is how containers are found.
func (in *Instance) Processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("harness: list processes: %w", err)
	}
	var found []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !in.owns(pid) {
			continue
		}
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // ended meanwhile
		}
		if len(cmdline) == 0 {
			continue // it has ended and waits to be reaped
		}
		args := strings.ReplaceAll(strings.TrimRight(string(cmdline), "\x00"), "\x00", " ")
		name, _, _ := strings.Cut(args, " ")
		found = append(found, Process{PID: pid, Parent: parent(pid), Name: filepath.Base(name), Args: args})
	}
	return found, nil
}

// parent is 0 when the process has ended meanwhile.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The second field, the name in parentheses, may hold anything (proc_pid_stat(5)).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return 0
	}
	return ppid
}

// Part lists the processes of one part by its name: containerd, dockerd, cluster, dns, boxyard
// (the daemon, not commands). A child that has not called exec yet still has its parent's name,
// and is none.
func (in *Instance) Part(name string) ([]Process, error) {
	all, err := in.Processes()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(p Process) bool {
		return p.Name != name || name == "boxyard" && !strings.Contains(p.Args, " daemon")
	})
	pids := map[int]bool{}
	for _, p := range all {
		pids[p.PID] = true
	}
	return slices.DeleteFunc(all, func(p Process) bool { return pids[p.Parent] }), nil
}

// Kill sends SIGKILL to every process of a part and returns how many there were.
func (in *Instance) Kill(part string) (int, error) {
	processes, err := in.Part(part)
	if err != nil {
		return 0, err
	}
	for _, p := range processes {
		if err := in.kill(p.PID); err != nil {
			return 0, fmt.Errorf("kill %v: %w", p, err)
		}
	}
	return len(processes), nil
}

// kill makes sure that the pid is still one of ours: os.FindProcess holds it by a pidfd.
func (in *Instance) kill(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = process.Release() }()
	if !in.owns(pid) {
		return nil
	}
	if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (in *Instance) owns(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/", pid)
	in.mu.Lock()
	ns := in.ns
	in.mu.Unlock()
	if id, err := os.Readlink(dir + "ns/mnt"); err == nil && id == ns.mntID {
		return true
	}
	if id, err := os.Readlink(dir + "ns/net"); err == nil && id == ns.netID {
		return true
	}
	cgroups, err := os.ReadFile(dir + "cgroup")
	return err == nil && bytes.Contains(cgroups, []byte(in.Cgroup)) || ns == (namespaces{}) && in.sees(pid)
}

// killAll ends every process of the instance and returns those that it found first.
func (in *Instance) killAll() ([]Process, error) {
	first, err := in.Processes()
	if err != nil {
		return nil, err
	}
	err = poll(20*time.Second, func() error {
		left, err := in.Processes()
		if err != nil {
			return err
		}
		for _, p := range left {
			if err := in.kill(p.PID); err != nil {
				return err
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("harness: processes do not end: %v", left)
		}
		return nil
	})
	return first, err
}

// cgroups finds the instance's cgroups in every hierarchy, the deepest first.
func (in *Instance) cgroups() ([]string, error) {
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil // cgroups come and go while we walk
		}
		if strings.Contains(path, in.Cgroup) {
			found = append(found, path)
		}
		return nil
	})
	slices.SortFunc(found, func(a, b string) int { return strings.Count(b, "/") - strings.Count(a, "/") })
	return found, err
}

func (in *Instance) removeCgroups() error {
	return poll(10*time.Second, func() error {
		dirs, err := in.cgroups()
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("harness: remove cgroup: %w", err)
			}
		}
		return nil
	})
}

func containsLine(data []byte, text string) bool { return bytes.Contains(data, []byte(text)) }

func orNone(err error) error {
	if err == nil {
		return errors.New("it ran")
	}
	return err
}
