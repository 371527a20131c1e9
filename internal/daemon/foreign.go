package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Presence is how a path was before Boxyard.
type Presence string

// The presences.
const (
	Absent Presence = "absent" // ours now: reset removes it
	Empty  Presence = "empty"  // somebody's directory: reset empties it again
	Used   Presence = "used"   // somebody's files are in it: reset leaves it, and what pods left in it is cleared by the kubelet
)

// sharedPaths are directories outside our own that parts write to, because charts, drivers and
// tools expect them there. Nothing belongs here that another Docker or Kubernetes, installed later,
// would keep its data in.
func sharedPaths() []string {
	return []string{"/var/lib/kubelet", "/var/log/pods", "/var/log/containers"}
}

func presences(paths []string) map[string]Presence {
	found := make(map[string]Presence, len(paths))
	for _, p := range paths {
		found[p] = presence(p)
	}
	return found
}

func presence(path string) Presence {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Absent
	case err == nil && len(entries) == 0:
		return Empty
	default:
		return Used
	}
}

// restore brings path back to what it was.
func restore(path string, was Presence) error {
	switch was {
	case Absent:
		return removeAll(path)
	case Empty:
		return removeInside(path)
	default:
		return nil
	}
}

// removeAll removes path with all that is in it. A mount point cannot be removed; it is left empty.
func removeAll(path string) error {
	if err := removeInside(path); err != nil {
		return err
	}
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EBUSY) {
		return nil
	}
	return err
}

func removeInside(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(path, e.Name())))
	}
	return errors.Join(errs...)
}
