package images

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/distribution/reference"
	"golang.org/x/sys/unix"
)

// normalize gives an image reference, as people write it, the name that its record in containerd has:
// "hello" is docker.io/library/hello:latest. A digest wins over a tag, as in CRI.
func normalize(ref string) (string, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", fmt.Errorf("image reference %q: %w", ref, err)
	}
	return named.String(), nil
}

// inUse is what images-in-use.json says, its names normalised and sorted.
type inUse struct {
	names []string
	// volumes are those of names that pods mount as volumes.
	volumes []string
}

// readInUse reads images-in-use.json. A file that is not there yet names none. What is not a reference is left
// out: no image can have that name.
func readInUse(file string) (inUse, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return inUse{}, nil
	}
	if err != nil {
		return inUse{}, fmt.Errorf("read the images in use: %w", err)
	}
	var list struct {
		Images  []string `json:"images"`
		Volumes []string `json:"volumes"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return inUse{}, fmt.Errorf("read the images in use from %s: %w", file, err)
	}
	return inUse{names: normalizeAll(list.Images), volumes: normalizeAll(list.Volumes)}, nil
}

// PodImages are the full names of the images that pods and workloads of the cluster use, as the cluster process last
// wrote them to file.
func PodImages(file string) ([]string, error) {
	used, err := readInUse(file)
	return used.names, err
}

func normalizeAll(references []string) []string {
	var names []string
	for _, ref := range references {
		if name, err := normalize(ref); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// watchFile sends on changed, without blocking, whenever file is written or replaced, until ctx is
// done. The directory is watched, because a replaced file is another inode.
func watchFile(ctx context.Context, file string, changed chan<- struct{}) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watch %s: %w", file, err)
	}
	// As an os.File the descriptor waits in the runtime's poller, and Close ends the read.
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(file), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_DELETE); err != nil {
		return fmt.Errorf("watch %s: %w", filepath.Dir(file), err)
	}
	stop := context.AfterFunc(ctx, func() { _ = events.Close() })
	defer stop()
	// The file may have been written before the watch began.
	notify(changed)
	buf := make([]byte, 4096)
	for {
		n, err := events.Read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch %s: %w", file, err)
		}
		if slices.Contains(inotifyNames(buf[:n]), filepath.Base(file)) {
			notify(changed)
		}
	}
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// inotifyNames reads the file names out of a buffer of struct inotify_event. An overflow, which has
// no name, is not expected: it takes 16384 unread events.
func inotifyNames(buf []byte) []string {
	var names []string
	for len(buf) >= unix.SizeofInotifyEvent {
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:])) // the field len
		if end > len(buf) {
			break
		}
		names = append(names, unix.ByteSliceToString(buf[unix.SizeofInotifyEvent:end]))
		buf = buf[end:]
	}
	return names
}
