package harness

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespaces are held open by their files: they live until Close and until their last process.
type namespaces struct {
	mnt, net     *os.File
	mntID, netID string // as /proc/PID/ns/* shows them
}

func (n *namespaces) close() error {
	if n.mnt == nil {
		return nil
	}
	err := errors.Join(n.mnt.Close(), n.net.Close())
	n.mnt, n.net = nil, nil
	return err
}

// boot makes a fresh pair of namespaces on the instance's directories.
func (in *Instance) boot() error {
	var ns namespaces
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := in.mountAll(); err != nil {
			return err
		}
		var err error
		if ns.mnt, ns.mntID, err = openNamespace("mnt"); err != nil {
			return err
		}
		if ns.net, ns.netID, err = openNamespace("net"); err != nil {
			return errors.Join(err, ns.mnt.Close())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("harness: make namespaces: %w", err)
	}
	in.mu.Lock()
	in.ns = ns
	in.mu.Unlock()
	if in.opts.Setup == nil {
		return nil
	}
	return in.Inside(in.opts.Setup)
}

func openNamespace(kind string) (*os.File, string, error) {
	path := "/proc/thread-self/ns/" + kind
	id, err := os.Readlink(path)
	if err != nil {
		return nil, "", err
	}
	file, err := os.Open(path)
	return file, id, err
}

// Inside calls f on a thread that is inside the instance's namespaces. f must not hand work
// to other goroutines; processes that it starts are inside too.
func (in *Instance) Inside(f func() error) error {
	in.mu.Lock()
	ns := in.ns
	in.mu.Unlock()
	if ns.mnt == nil {
		return errors.New("harness: the instance is closed")
	}
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Setns(int(ns.net.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the network namespace: %w", err)
		}
		if err := unix.Setns(int(ns.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the mount namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread that ends with it, because a thread that has changed its
// namespaces can not be given back.
func onOwnThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if unix.Gettid() == os.Getpid() {
			// The main thread never ends, and it is what /proc/self shows. Hold it meanwhile.
			result <- onOwnThread(f)
			runtime.UnlockOSThread()
			return
		}
		result <- f()
	}()
	return <-result
}

// mountAll gives the current thread's new namespaces the instance's view of the host.
func (in *Instance) mountAll() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := dropInherited("/run/", "/var/lib/"); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	for _, path := range []string{"/etc", "/root", "/opt", "/usr/local", "/var/lib"} {
		if err := in.overlay(path); err != nil {
			return err
		}
	}
	if err := in.mountData(); err != nil {
		return err
	}
	for path, name := range map[string]string{"/var/lib/kubelet": "kubelet", "/var/log": "log"} {
		if err := bindDir(filepath.Join(in.dir, name), path); err != nil {
			return err
		}
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	// Pods see what is mounted on the host after they have started, and the other way round.
	for _, path := range []string{"/run", "/var/lib/kubelet", "/var/lib/boxyard"} {
		if err := unix.Mount("", path, "", unix.MS_SHARED, ""); err != nil {
			return fmt.Errorf("share %s: %w", path, err)
		}
	}
	for _, path := range []string{"/run/netns", "/run/lock"} {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	}
	if err := in.newBootID(); err != nil {
		return err
	}
	return in.mountSys()
}

// dropInherited takes away, in the current mount namespace only, what is mounted below these prefixes: the
// mounts of a Boxyard beside us. They would hide nothing, but come and go in our snapshots.
func dropInherited(prefixes ...string) error {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	lines := strings.Split(string(data), "\n")
	for _, line := range slices.Backward(lines) { // the deepest come last
		fields := strings.Fields(line)
		if len(fields) < 5 || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(fields[4], p) }) {
			continue
		}
		if err := unix.Unmount(fields[4], unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmount %s: %w", fields[4], err)
		}
	}
	return nil
}

// overlay makes path writable without a trace on the host.
func (in *Instance) overlay(path string) error {
	base := filepath.Join(in.dir, "overlay", strings.ReplaceAll(strings.Trim(path, "/"), "/", "-"))
	upper, work := filepath.Join(base, "upper"), filepath.Join(base, "work")
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := copyMode(path, upper); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)
	if err := unix.Mount("overlay", path, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount an overlay on %s: %w", path, err)
	}
	return nil
}

func copyMode(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return os.Chmod(to, info.Mode().Perm())
}

func (in *Instance) mountData() error {
	const path = "/var/lib/boxyard"
	if in.opts.DataMB == 0 {
		return bindDir(filepath.Join(in.dir, "data"), path)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	size := fmt.Sprintf("size=%dm", in.opts.DataMB)
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, size); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}

func bindDir(from, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", to, err)
	}
	return nil
}

// newBootID makes each boot of the instance a boot of its own, to those who compare.
func (in *Instance) newBootID() error {
	var b [16]byte
	_, _ = rand.Read(b[:])
	id := fmt.Sprintf("%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	file := filepath.Join(in.dir, "boot_id")
	if err := os.WriteFile(file, []byte(id), 0o444); err != nil {
		return err
	}
	if err := unix.Mount(file, "/proc/sys/kernel/random/boot_id", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind boot_id: %w", err)
	}
	// A user namespace may mount proc only where one is seen whole (fs/namespace.c, mnt_already_visible), which that
	// bind has ended for the one at /proc.
	whole := filepath.Join(in.dir, "proc")
	if err := os.MkdirAll(whole, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("proc", whole, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount proc: %w", err)
	}
	return nil
}

// mountSys replaces /sys, whose class/net shows the network namespace that it was mounted in,
// and puts what was mounted below it (the cgroup hierarchies) into the new one.
func (in *Instance) mountSys() error {
	below, err := mountsBelow("/sys")
	if err != nil {
		return err
	}
	fresh := filepath.Join(in.dir, "sys")
	if err := unix.Mount("sysfs", fresh, "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount sysfs: %w", err)
	}
	for _, path := range below {
		target := filepath.Join(fresh, strings.TrimPrefix(path, "/sys"))
		if err := unix.Mount(path, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("bind %s: %w", path, err)
		}
	}
	if err := unix.Mount(fresh, "/sys", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move sysfs: %w", err)
	}
	return nil
}

// mountsBelow lists the mount points directly on the mount at path.
func mountsBelow(path string) ([]string, error) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	var id string
	var below []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) < 5:
		case fields[4] == path:
			id = fields[0]
		case id != "" && fields[1] == id && fields[4] != path:
			below = append(below, fields[4])
		}
	}
	return below, lines.Err()
}
