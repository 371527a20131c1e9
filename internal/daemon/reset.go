package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/boxyard/boxyard/internal/cgroup"
	"github.com/boxyard/boxyard/internal/component/containerd"
	"github.com/boxyard/boxyard/internal/component/dockerd"
	"github.com/boxyard/boxyard/internal/component/registry"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/host"
	"github.com/boxyard/boxyard/internal/kubeconfig"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/registries"
	"github.com/boxyard/boxyard/internal/systemd"
	"github.com/boxyard/boxyard/internal/version"
	"github.com/boxyard/boxyard/internal/workload"
)

// clearRun removes what a clean stop of all parts leaves: mounts, the network, cgroups, sockets.
func clearRun(ctx context.Context, l paths.Layout, m *machine) error {
	return errors.Join(
		workload.UnmountUnder(l.Run, l.DataOf("containerd"), l.DataOf("docker"), kubeletDir),
		removeNetwork(ctx, l, m.networkOptions(), m.state.NFTTables, m.log),
		workload.RemoveCgroups(ctx, m.cgroup.Dir()+"/daemons"),
	)
}

const kubeletDir = "/var/lib/kubelet"

// Leftovers says whether parts, containers or pods of a daemon that has ended run.
func Leftovers(l paths.Layout) (bool, error) {
	e, err := readEstate(l)
	if err != nil {
		return false, err
	}
	return e.running(), nil
}

// StopLeftovers kills them. The caller has made sure that no daemon runs.
func StopLeftovers(ctx context.Context, l paths.Layout) error {
	e, err := readEstate(l)
	if err != nil {
		return err
	}
	return e.stop(ctx)
}

// Reset removes everything that Boxyard ever made on this machine, with or without state of it. It
// goes on after errors. The caller has stopped what could be stopped in peace, and the unit.
func Reset(ctx context.Context, l paths.Layout) error {
	if err := killDaemon(ctx, l); err != nil {
		return err
	}
	e, err := readEstate(l)
	if err != nil {
		return err
	}
	if err := e.stop(ctx); err != nil {
		return err // what still runs would write into directories while they are removed
	}
	errs := []error{host.RestoreSysctls(sysctlFile(l)), e.forgetUsers()}
	for path, was := range e.state.Before {
		errs = append(errs, restore(path, was))
	}
	for dir, was := range e.state.VolumeDirs {
		errs = append(errs, removeVolumes(dir, was, workload.MountsUnder))
	}
	errs = append(errs,
		removeOutside(),
		os.RemoveAll(l.Kubeconfig()), removeEmpty(l.Config),
		removeAll(l.Log), removeAll(l.Data), removeAll(l.Run),
	)
	return errors.Join(errs...)
}

// estate is what a reset goes by: the state and the configuration, or the defaults where they are gone.
type estate struct {
	layout paths.Layout
	state  State
	config config.Config
	ranges ranges
	cgroup cgroup.Root
}

func readEstate(l paths.Layout) (estate, error) {
	// A configuration or state that is broken or newer must not keep people from getting rid of it.
	c, broken := config.Load(l.ConfigFile())
	if broken != nil {
		c = config.Default()
	}
	s, err := LoadState(l.StateFile(), version.Version)
	if broken != nil {
		// The default's cgroup may be that of another instance; then it is better to end nothing.
		c.CgroupRoot = s.CgroupRoot
	}
	if err != nil {
		if s, err = newState(creation{config: c, ipv6: true, hostname: "boxyard", boxyard: version.Version}); err != nil {
			return estate{}, err
		}
	}
	r, err := s.ranges()
	if err != nil {
		return estate{}, err
	}
	mounts, err := workload.CgroupMounts()
	if err != nil {
		return estate{}, err
	}
	return estate{
		layout: l, state: s, config: c, ranges: r,
		cgroup: cgroup.Root{Name: c.CgroupRoot, Systemd: systemd.Booted(), Mounts: mounts},
	}, nil
}

// cgroups that hold our processes, and nobody else's.
func (e estate) cgroups() []string {
	if e.cgroup.Name == "" {
		return nil
	}
	all := []string{e.cgroup.Dir()}
	if e.cgroup.Systemd {
		all = append(all, "system.slice/"+systemd.Service) // the parts that a killed daemon left
	}
	return all
}

func (e estate) running() bool {
	for _, mount := range e.cgroup.Mounts {
		for _, group := range e.cgroups() {
			if populated(filepath.Join(mount, group)) {
				return true
			}
		}
	}
	return false
}

func populated(dir string) bool {
	found := false
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err == nil && len(strings.TrimSpace(string(data))) > 0 {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// stop kills what runs and takes its mounts, network and cgroups away.
func (e estate) stop(ctx context.Context) error {
	l := e.layout
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := workload.KillAll(limited, l.ContainerdSocket(), e.cgroups()...); err != nil {
		return fmt.Errorf("stop what still runs: %w", err)
	}
	err := errors.Join(
		workload.UnmountUnder(l.Run, l.Data, kubeletDir),
		dockerd.RemoveLink(publicSocket(l), l.DockerSocket()),
		removeNetwork(ctx, l, networkOptions(e.config, e.ranges, "", true), e.state.NFTTables, slog.New(slog.DiscardHandler)),
	)
	if e.cgroup.Name == "" {
		return err
	}
	return errors.Join(err, e.cgroup.Release(ctx), workload.RemoveCgroups(ctx, e.cgroup.Dir()))
}

func (e estate) forgetUsers() error {
	users, err := Users(e.layout)
	if err != nil {
		return err
	}
	var errs []error
	for _, u := range users {
		errs = append(errs, kubeconfig.Remove(u.kube()))
	}
	return errors.Join(errs...)
}

// killDaemon ends a daemon that does not listen any more.
func killDaemon(ctx context.Context, l paths.Layout) error {
	if !Running(l) {
		return nil
	}
	data, err := os.ReadFile(l.LockFile())
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("the daemon does not answer, and %s does not say which process it is", l.LockFile())
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the daemon (pid %d): %w", pid, err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for Running(l) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// removeEmpty removes a directory that has nothing in it; a config.yaml is the user's.
func removeEmpty(dir string) error {
	err := os.Remove(dir)
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return err
}

// removeOutside removes what upstream makes at fixed paths, where nothing of others is in it.
func removeOutside() error {
	var errs []error
	patterns, dirs := containerd.Outside()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, file := range files {
			errs = append(errs, os.Remove(file))
		}
	}
	for _, file := range registry.Outside(registries.Dir) {
		errs = append(errs, os.Remove(file), removeEmpty(filepath.Dir(file)))
	}
	// /run/mount is made by the command mount, which the kubelet calls.
	for _, dir := range slices.Concat(dirs, dockerd.Outside(), []string{"/run/mount"}) {
		errs = append(errs, removeEmpty(dir))
	}
	return errors.Join(errs...)
}
