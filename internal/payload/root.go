package payload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names in the root directory beside the sets.
const (
	currentLink  = "current"
	previousLink = "previous"
	lockFile     = ".lock"
)

// lock waits until no other process works on root. The kernel drops it when a process dies.
func lock(ctx context.Context, root string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(root, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another process is extracting to %s: %w", root, ctx.Err()), f.Close())
		case <-tick.C:
		}
	}
}

// removeLeftovers removes what processes left that died at work. The caller holds the lock.
func removeLeftovers(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), tmpPrefix) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// switchTo makes current lead to the set name, and previous to the one that it led to.
func switchTo(root, name string) error {
	old := linkTarget(root, currentLink)
	if old == name {
		return nil
	}
	if old != "" {
		if err := replaceLink(root, previousLink, old); err != nil {
			return err
		}
	}
	if err := replaceLink(root, currentLink, name); err != nil {
		return err
	}
	return syncDir(root)
}

// prune removes the sets that are neither current nor previous and that no process runs from.
func prune(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	keep := []string{linkTarget(root, currentLink), linkTarget(root, previousLink)}
	used, err := running(root)
	if err != nil {
		return err
	}
	keep = append(keep, used...)
	for _, e := range entries {
		if !e.IsDir() || slices.Contains(keep, e.Name()) {
			continue
		}
		if err := discard(filepath.Join(root, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// running are the sets that live processes run from. A shim of an old container is
// one, and it will start the runc of its own set.
func running(root string) ([]string, error) {
	processes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, link := range processes {
		exe, err := os.Readlink(link)
		if err != nil {
			continue // it has ended, or it is a kernel thread
		}
		rest, ok := strings.CutPrefix(exe, root+"/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		names = append(names, name)
	}
	return names, nil
}

// discard removes a set at once for the eye and then for the disk, so that a
// crash between the two leaves no half of it.
func discard(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	away, err := os.MkdirTemp(filepath.Dir(dir), tmpPrefix)
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(away, filepath.Base(dir))); err != nil {
		return errors.Join(err, os.Remove(away))
	}
	return os.RemoveAll(away)
}

func linkTarget(root, name string) string {
	target, err := os.Readlink(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	return target
}

// replaceLink makes or replaces a link in one step.
func replaceLink(root, name, target string) error {
	tmp := filepath.Join(root, tmpPrefix+name)
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(root, name)); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

func writeSynced(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

// syncDirs makes the names in dir and below durable.
func syncDirs(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		return syncDir(path)
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
