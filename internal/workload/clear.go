package workload

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// UnmountUnder unmounts, lazily and deepest first, everything that is mounted on the given
// directories' insides; a mount on a directory itself stays.
func UnmountUnder(dirs ...string) error {
	points, err := MountsUnder(dirs...)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range points {
		err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // gone with another
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// MountsUnder gives the mount points strictly beneath dirs, the last mounted first.
func MountsUnder(dirs ...string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	defer func() { _ = f.Close() }()
	return mountsUnder(f, dirs)
}

// mountsUnder gives the mount points strictly beneath dirs, the last mounted first: a mount
// comes after what it lies upon.
func mountsUnder(mountinfo io.Reader, dirs []string) ([]string, error) {
	var points []string
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		point := unescape(fields[4])
		if slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(point, filepath.Clean(d)+"/") }) {
			points = append(points, point)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	slices.Reverse(points)
	return points, nil
}

// unescape undoes the octal escapes of mountinfo (fs/proc_namespace.c escapes blank, tab, newline and backslash).
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// RemoveNetns removes the network namespaces that CRI has bound beneath dir (cni-*).
func RemoveNetns(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "cni-") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount network namespace %s: %w", path, err))
			continue
		}
		if err := os.Remove(path); err != nil {
			errs = append(errs, fmt.Errorf("remove network namespace: %w", err))
		}
	}
	return errors.Join(errs...)
}

// CgroupMounts lists the mount points of the cgroup hierarchies of this host, v1 and v2.
func CgroupMounts() ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	defer f.Close()
	return cgroupMounts(f)
}

func cgroupMounts(mountinfo io.Reader) ([]string, error) {
	var mounts []string
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		mount, source, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(mount)
		// fields[3] is what of the hierarchy is mounted: a part of it is a container's view.
		if !ok || len(fields) < 5 || fields[3] != "/" {
			continue
		}
		if strings.HasPrefix(source, "cgroup ") || strings.HasPrefix(source, "cgroup2 ") {
			mounts = append(mounts, unescape(fields[4]))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	slices.Sort(mounts)
	return slices.Compact(mounts), nil
}

// leaveTime is how long processes that are ending may take to leave their cgroups.
const leaveTime = 5 * time.Second

// RemoveCgroups removes the cgroup root ("boxyard", "boxyard.slice") and all beneath it from every
// hierarchy. It kills nothing: a cgroup that has processes when ctx ends, or after five seconds, is an error. It waits
// because a process leaves its cgroup at last: its memory, command line and files are gone before (kernel/exit.c,
// do_exit).
func RemoveCgroups(ctx context.Context, root string) error {
	if strings.Trim(filepath.Clean("/"+root), "/") == "" {
		return fmt.Errorf("refusing to remove cgroup %q: it is the root of all", root)
	}
	mounts, err := CgroupMounts()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	var errs []error
	for _, m := range mounts {
		errs = append(errs, removeEmptied(ctx, filepath.Join(m, filepath.Clean("/"+root)), removeTree))
	}
	return errors.Join(errs...)
}

// removeEmptied removes the tree of cgroups once the last process has left it; until then the kernel calls it busy.
func removeEmptied(ctx context.Context, dir string, remove func(string) error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := remove(dir)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// removeTree removes directories only, from the bottom: the files of a cgroup go with it.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list cgroups: %w", err)
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return nil
}
