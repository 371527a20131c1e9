package harness

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// instances is where the directories of instances are, and prefix how their names begin.
	instances, prefix = "/var/tmp", "boxyard-test-"
	// ownerFile is locked for as long as the process lives that made the instance.
	ownerFile = "owner"
)

// own says that this process has the instance. The file gets its name when it is locked.
func (in *Instance) own() error {
	path := filepath.Join(in.dir, ownerFile)
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.Join(err, file.Close())
	}
	in.owner = file
	return os.Rename(file.Name(), path)
}

// disown is for a directory that is to be kept, or has been removed.
func (in *Instance) disown() error {
	err := os.Remove(filepath.Join(in.dir, ownerFile))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, in.owner.Close())
}

// sweep removes the instances of processes that were killed before they could.
func sweep() error {
	dirs, err := filepath.Glob(filepath.Join(instances, prefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		in := &Instance{ID: strings.TrimPrefix(filepath.Base(dir), prefix), Cgroup: filepath.Base(dir), dir: dir}
		if err := in.sweep(); err != nil {
			return fmt.Errorf("harness: remove instance %s, which an interrupted test has left: %w", in.ID, err)
		}
	}
	return nil
}

func (in *Instance) sweep() error {
	file, err := os.OpenFile(filepath.Join(in.dir, ownerFile), os.O_RDWR, 0)
	if err != nil {
		return nil // one that is kept, or about to come or go
	}
	in.owner = file
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return file.Close()
	}
	_, err = in.killAll()
	return errors.Join(err, in.removeCgroups(), in.remove())
}

// sees tells whether a process has the instance's file systems.
func (in *Instance) sees(pid int) bool {
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	return err == nil && bytes.Contains(mounts, []byte(in.dir+"/"))
}
