package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/boxyard/boxyard/internal/paths"
)

// linkPayload makes the link `current`, where the payload is a directory used in place, and the
// links that a user puts on the PATH. They go through `current`, so that an upgrade needs no new ones.
func linkPayload(l paths.Layout, set string) error {
	// 0711 above and 0755 here: any user may run the clients, and list nothing else.
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{{l.Data, 0o711}, {l.PayloadDir(), 0o755}, {l.BinDir(), 0o755}} {
		if err := os.MkdirAll(d.path, d.mode); err != nil {
			return err
		}
	}
	current := filepath.Join(l.PayloadDir(), "current")
	if filepath.Dir(set) != l.PayloadDir() {
		if err := link(set, current); err != nil {
			return err
		}
	}
	for _, name := range []string{"docker", "kubectl", "helm"} {
		if err := link(filepath.Join(current, name), filepath.Join(l.BinDir(), name)); err != nil {
			return err
		}
	}
	return nil
}

// link makes or replaces the link at path in one step.
func link(target, path string) error {
	if now, err := os.Readlink(path); err == nil && now == target {
		return nil
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
