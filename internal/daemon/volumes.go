package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// volumeMarker is the file by which the cluster process marks a directory of volumes (cluster/storage).
const volumeMarker = ".boxyard-volumes"

// volumeName ends with the name of a PersistentVolume that was made for a claim.
var volumeName = regexp.MustCompile(`_pvc-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// removeVolumes removes what Boxyard made in a directory of volumes, which may be anywhere, and the directory where
// there was none. mountsUnder lists mounts; what is mounted in a volume is not the volume's, so that one stays.
func removeVolumes(dir string, was Presence, mountsUnder func(...string) ([]string, error)) error {
	if _, err := os.Lstat(filepath.Join(dir, volumeMarker)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	mounts, err := mountsUnder(dir)
	if err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch mount := mountedIn(path, mounts); {
		case !volumeName.MatchString(e.Name()):
		case mount != "":
			errs = append(errs, fmt.Errorf("the volume %s stays: something is mounted at %s", path, mount))
		default:
			errs = append(errs, os.RemoveAll(path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, volumeMarker)); err != nil {
		return fmt.Errorf("remove volumes: %w", err)
	}
	if was != Absent {
		return nil
	}
	return removeEmpty(dir)
}

func mountedIn(path string, mounts []string) string {
	for _, m := range mounts {
		if m == path || strings.HasPrefix(m, path+"/") {
			return m
		}
	}
	return ""
}
