package storage

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"
)

// marker is a file in each directory that has held volumes: it tells them from those of others, also after
// storage.path was changed. The daemon's reset goes by it (internal/daemon/volumes.go).
const marker = ".boxyard-volumes"

const markerText = "Boxyard keeps volumes of Kubernetes in this directory. Each has a PersistentVolume: kubectl get pv\n"

// nameMax is NAME_MAX of Linux' file systems.
const nameMax = 255

// directory is where volumes are.
type directory struct {
	path   string
	size   func(path string) (int64, error)    // of its file system, bytes
	mounts func() (map[string]struct{}, error) // every mount point there is
}

func newDirectory(path string) directory {
	return directory{path: path, size: fileSystemSize, mounts: mountPoints}
}

// dirName is readable for people, and unique by the volume's name. Kubernetes' names hold no slash and no
// underscore, and start with a letter or digit.
func dirName(namespace, claim, volume string) string {
	readable := namespace + "_" + claim
	if room := nameMax - 1 - len(volume); len(readable) > room {
		readable = readable[:room]
	}
	return readable + "_" + volume
}

// fits refuses what the file system could not hold if it were empty. What is free now says little about later.
func (d directory) fits(size resource.Quantity) error {
	if err := d.make(); err != nil {
		return err
	}
	total, err := d.size(d.path)
	if err != nil {
		return fmt.Errorf("ask for the size of the file system: %w", err)
	}
	if size.CmpInt64(total) > 0 {
		return fmt.Errorf("the claim asks for %s, and the file system of %s has %s", size.String(), d.path, readable(total))
	}
	return nil
}

// readable rounds down, so that what it says can be had.
func readable(bytes int64) string {
	const unit = 1 << 20
	if bytes < unit {
		return resource.NewQuantity(bytes, resource.BinarySI).String()
	}
	if bytes >= 10<<30 {
		return resource.NewQuantity(bytes>>30<<30, resource.BinarySI).String()
	}
	return resource.NewQuantity(bytes>>20<<20, resource.BinarySI).String()
}

// make makes the directory itself. Only root passes it: what is in it may be written by anyone.
func (d directory) make() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("make the directory for volumes: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(d.path, marker), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark the directory for volumes: %w", err)
	}
	_, err = file.WriteString(markerText)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("mark the directory for volumes: %w", err)
	}
	return nil
}

// create makes the directory of one volume, which any user in a pod may write. One that is there was made by a run
// before us that did not come to say so.
func (d directory) create(name string) (string, error) {
	path := filepath.Join(d.path, name)
	err := os.Mkdir(path, 0o777)
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = os.Chmod(path, 0o777) // whatever the umask is
	}
	if err != nil {
		return "", fmt.Errorf("make the directory of the volume: %w", err)
	}
	return path, nil
}

// remove removes the directory of one volume with all that is in it; one that is not there is removed. It does not
// follow links, and it refuses where something is mounted: that would not be the volume's.
func (d directory) remove(path string) error {
	parent, name := filepath.Dir(path), filepath.Base(path)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(parent, marker)); err != nil && parent != d.path {
		return fmt.Errorf("%s is not in a directory of Boxyard's volumes: there is no %s beside it", path, marker)
	}
	mounts, err := d.mounts()
	if err != nil {
		return err
	}
	for mount := range mounts {
		if mount == path || strings.HasPrefix(mount, path+"/") {
			return fmt.Errorf("something is mounted at %s; unmount it, and the volume is removed", mount)
		}
	}
	root, err := os.OpenRoot(parent)
	if err != nil {
		return fmt.Errorf("remove the directory of the volume: %w", err)
	}
	err = errors.Join(root.RemoveAll(name), root.Close())
	if err != nil {
		return fmt.Errorf("remove the directory of the volume: %w", err)
	}
	return nil
}

func fileSystemSize(path string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return int64(stat.Blocks) * stat.Frsize, nil
}

func mountPoints() (map[string]struct{}, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list what is mounted: %w", err)
	}
	defer func() { _ = file.Close() }()
	points := map[string]struct{}{}
	// proc(5): the fifth field, in which space, tab, newline and backslash are octal.
	octal := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 4 {
			points[octal.Replace(fields[4])] = struct{}{}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("list what is mounted: %w", err)
	}
	return points, nil
}
