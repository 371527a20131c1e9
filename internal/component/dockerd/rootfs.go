package dockerd

import (
	"fmt"
	"path/filepath"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// rootfsDir is where dockerd mounts the file systems of containers, each at its container's ID
// (moby daemon/snapshotter, mounter.target).
func rootfsDir(o Options) string {
	return filepath.Join(o.Layout.DataOf("docker"), "rootfs", "overlayfs")
}

// mountedBelow names the directories right below dir at which something is mounted.
func mountedBelow(dir string) ([]string, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("read the mounts below %s: %w", dir, err)
	}
	var names []string
	for _, m := range mounts {
		if filepath.Dir(m.Mountpoint) == dir {
			names = append(names, filepath.Base(m.Mountpoint))
		}
	}
	return names, nil
}

// unmountRootfs takes away the file system of a container that does not run. One that is left by a dockerd which was
// killed while the container started stays for good otherwise: the next dockerd counts it as somebody's use
// (moby daemon/internal/mountref), and so never unmounts it, not even when the container is removed.
func unmountRootfs(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	// Only the empty directory; what lies in one that is not would be lost.
	return removeEmpty(path)
}
