package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// made has the uid of the claim, which the library makes the volume's name of.
var made = regexp.MustCompile(`_pvc-([0-9a-f-]{36})$`)

// sweep removes what a run before us has made and not come to say so, where the claim was deleted meanwhile. Only
// empty directories can be that, so data that was retained is safe from it.
func (c *Controller) sweep() error {
	entries, err := os.ReadDir(c.dir.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the directories of volumes: %w", err)
	}
	needed := map[string]bool{}
	for _, object := range c.claims.GetStore().List() {
		if claim, ok := object.(*corev1.PersistentVolumeClaim); ok {
			needed[string(claim.UID)] = true
		}
	}
	for _, object := range c.volumes.GetStore().List() {
		if volume, ok := object.(*corev1.PersistentVolume); ok && volume.Spec.ClaimRef != nil {
			needed[string(volume.Spec.ClaimRef.UID)] = true
		}
	}
	var errs []error
	for _, entry := range entries {
		match := made.FindStringSubmatch(entry.Name())
		if match == nil || !entry.IsDir() || needed[match[1]] {
			continue
		}
		path := filepath.Join(c.dir.path, entry.Name())
		switch err := syscall.Rmdir(path); {
		case err == nil:
			klog.InfoS("Removed the empty directory of a volume that never came to be", "path", path)
		case !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EBUSY):
			errs = append(errs, &fs.PathError{Op: "rmdir", Path: path, Err: err})
		}
	}
	return errors.Join(errs...)
}
