package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/selinux/go-selinux"
	"golang.org/x/sys/unix"
)

// newProcess says in the library's terms what a spec says of a process (runc utils_linux.go: newProcess and
// validateProcessSpec).
func newProcess(spec *specs.Process) (*libcontainer.Process, error) {
	switch {
	case spec == nil:
		return nil, errors.New("process property must not be empty")
	case spec.Cwd == "":
		return nil, errors.New("Cwd property must not be empty")
	case !filepath.IsAbs(spec.Cwd):
		return nil, errors.New("Cwd must be an absolute path")
	case len(spec.Args) == 0:
		return nil, errors.New("args must not be empty")
	case spec.SelinuxLabel != "" && !selinux.GetEnabled():
		return nil, errors.New("selinux label is specified in config, but selinux is disabled or not supported")
	}
	affinity, err := configs.ConvertCPUAffinity(spec.ExecCPUAffinity)
	if err != nil {
		return nil, err
	}
	rlimits, err := newRlimits(spec.Rlimits)
	if err != nil {
		return nil, err
	}
	p := &libcontainer.Process{
		Args:            spec.Args,
		Env:             spec.Env,
		Cwd:             spec.Cwd,
		UID:             int(spec.User.UID),
		GID:             int(spec.User.GID),
		Label:           spec.SelinuxLabel,
		AppArmorProfile: spec.ApparmorProfile,
		NoNewPrivileges: &spec.NoNewPrivileges,
		Capabilities:    newCapabilities(spec.Capabilities),
		Rlimits:         rlimits,
		Scheduler:       spec.Scheduler,
		IOPriority:      spec.IOPriority,
		CPUAffinity:     affinity,
	}
	for _, group := range spec.User.AdditionalGids {
		p.AdditionalGroups = append(p.AdditionalGroups, int(group))
	}
	if size := spec.ConsoleSize; size != nil {
		p.ConsoleWidth, p.ConsoleHeight = uint16(size.Width), uint16(size.Height)
	}
	return p, nil
}

func newCapabilities(spec *specs.LinuxCapabilities) *configs.Capabilities {
	if spec == nil {
		return nil
	}
	return &configs.Capabilities{
		Bounding:    spec.Bounding,
		Effective:   spec.Effective,
		Inheritable: spec.Inheritable,
		Permitted:   spec.Permitted,
		Ambient:     spec.Ambient,
	}
}

func newRlimits(spec []specs.POSIXRlimit) ([]configs.Rlimit, error) {
	numbers := map[string]int{
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
		"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
		"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
		"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
		"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
	}
	limits := make([]configs.Rlimit, 0, len(spec))
	for _, l := range spec {
		number, ok := numbers[l.Type]
		if !ok {
			return nil, fmt.Errorf("wrong rlimit value: %s", l.Type)
		}
		limits = append(limits, configs.Rlimit{Type: number, Hard: l.Hard, Soft: l.Soft})
	}
	return limits, nil
}
