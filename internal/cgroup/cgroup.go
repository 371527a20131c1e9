package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/internal/fault"
)

// Root names the cgroup.
type Root struct {
	Name    string   // config.Config.CgroupRoot: "boxyard"
	Systemd bool     // systemd runs this host and must know of the cgroup
	Mounts  []string // of every hierarchy, v1 and v2 (workload.CgroupMounts)
}

// Dir is the cgroup's path in every hierarchy, without a leading slash.
func (r Root) Dir() string {
	if r.Systemd {
		return r.Name + ".slice"
	}
	return r.Name
}

// Kubelet is the cgroup as the kubelet's cgroupRoot names it; with the systemd driver it adds
// ".slice" itself.
func (r Root) Kubelet() string { return "/" + r.Name }

// OfPart is the cgroup of a part's own process, "" for our own. Under systemd the parts stay in the
// service's cgroup, which is delegated to us: a slice must hold no processes.
func (r Root) OfPart(part string) string {
	if r.Systemd {
		return ""
	}
	return r.Name + "/daemons/" + part
}

// Ensure makes the cgroup with every controller that the kubelet asks for. It is idempotent.
func (r Root) Ensure(ctx context.Context) error {
	if r.Systemd {
		// A slice needs no unit file. Accounting makes systemd turn the controllers on for it.
		props := []string{"set-property", "--runtime", r.Dir(), "CPUAccounting=yes", "MemoryAccounting=yes", "TasksAccounting=yes", "IOAccounting=yes"}
		if err := systemctl(ctx, "start", r.Dir()); err != nil {
			return err
		}
		if err := systemctl(ctx, props...); err != nil {
			return err
		}
	}
	for _, mount := range r.Mounts {
		if err := ensure(mount, r.Dir()); err != nil {
			return fmt.Errorf("make cgroup %s: %w", r.Dir(), err)
		}
	}
	return nil
}

// Release tells systemd that the cgroup is not needed any more; workload.RemoveCgroups removes it.
func (r Root) Release(ctx context.Context) error {
	if !r.Systemd {
		return nil
	}
	return errors.Join(systemctl(ctx, "stop", r.Dir()), systemctl(ctx, "revert", r.Dir()))
}

func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ensure makes dir in the hierarchy at mount.
func ensure(mount, dir string) error {
	path := filepath.Join(mount, dir)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(path, "cpuset.cpus")); err == nil && !isV2(mount) {
		return inheritCpuset(mount, path)
	}
	if isV2(mount) {
		return delegate(mount, path)
	}
	return nil
}

func isV2(mount string) bool {
	_, err := os.Stat(filepath.Join(mount, "cgroup.controllers"))
	return err == nil
}

// inheritCpuset: a new cpuset cgroup of v1 has no CPU and no memory node, and takes no process until it has.
func inheritCpuset(mount, path string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(path, file))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(own)) != "" {
			continue
		}
		parents, err := os.ReadFile(filepath.Join(mount, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(path, file), parents, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// delegate turns every controller of a v2 hierarchy on, down to the children of path.
func delegate(mount, path string) error {
	available, err := words(filepath.Join(mount, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range available {
		// One at a time, errors aside: some cannot be had (cpu with real-time processes around). What counts is checked below.
		for _, dir := range []string{mount, path} {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		}
	}
	got, err := words(filepath.Join(path, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range []string{"cpu", "memory", "pids"} {
		if slices.Contains(available, controller) && !slices.Contains(got, controller) {
			return &fault.Error{
				Code:    "cgroup-controller",
				Summary: fmt.Sprintf("the cgroup controller %s cannot be turned on for %s", controller, path),
				Hint:    "where Boxyard runs in a container, move that container's processes out of the root cgroup first, or give it systemd",
			}
		}
	}
	return nil
}

func words(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(data)), nil
}
