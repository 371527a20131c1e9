package main

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/cgroups"
)

// hasten takes one wait out of what follows it. The kernel moves a process between cgroups under a lock for which the
// first writer waits until every processor has passed a quiescent state (kernel/cgroup/cgroup.c, percpu_down_write:
// some 10 ms), and writers that come right after it do not. runc moves each container's process once it is there.
// Meanwhile this process is moved to where it is: nothing changes, but the wait is over sooner. Where it fails, there
// is only nothing gained.
func hasten() {
	go func() {
		if procs, err := ownProcs(); err == nil {
			_ = os.WriteFile(procs, []byte(strconv.Itoa(os.Getpid())), 0)
		}
	}()
}

// ownProcs is the file with the processes of a cgroup that this process is in.
func ownProcs() (string, error) {
	if !cgroups.IsCgroup2UnifiedMode() {
		dir, err := cgroups.GetOwnCgroupPath("pids")
		return filepath.Join(dir, "cgroup.procs"), err
	}
	own, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	return filepath.Join("/sys/fs/cgroup", own[""], "cgroup.procs"), err
}
