package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// enterCgroup moves pid into the cgroup path of every hierarchy under root, and makes it where it
// is missing. "" leaves pid where it is.
func enterCgroup(root, path string, pid int) error {
	if path == "" {
		return nil
	}
	mounts, err := hierarchies(root)
	if err != nil {
		return fmt.Errorf("find the cgroup hierarchies: %w", err)
	}
	var errs []error
	for _, m := range mounts {
		errs = append(errs, enter(m, path, pid))
	}
	return errors.Join(errs...)
}

// hierarchies are the mount points: root itself with cgroup v2, else one per controller of v1 and
// the "unified" one of v2 beside them.
func hierarchies(root string) ([]string, error) {
	kind, err := fsType(root)
	if err != nil || kind == unix.CGROUP2_SUPER_MAGIC {
		return []string{root}, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var mounts []string
	for _, e := range entries {
		if !e.IsDir() { // links such as cpu -> cpu,cpuacct
			continue
		}
		mount := filepath.Join(root, e.Name())
		kind, err := fsType(mount)
		if err == nil && (kind == unix.CGROUP_SUPER_MAGIC || kind == unix.CGROUP2_SUPER_MAGIC) {
			mounts = append(mounts, mount)
		}
	}
	return mounts, nil
}

func fsType(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return int64(st.Type), nil
}

func enter(mount, path string, pid int) error {
	_, err := os.Stat(filepath.Join(mount, "cpuset.cpus")) // v2 has none in its root
	cpuset := err == nil
	dir := mount
	for name := range strings.SplitSeq(filepath.Clean(path), "/") {
		parent := dir
		dir = filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if cpuset && inheritCpuset(parent, dir) != nil {
			return nil // the process stays in the root cpuset, which is where it would be without us
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// inheritCpuset: a new cpuset of v1 has no CPU and no memory node, and takes no process until it has.
func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(own)) != "" {
			continue
		}
		parents, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), parents, 0o644); err != nil {
			return err
		}
	}
	return nil
}
