package registries

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// gather is how long to wait after a change for those that follow: an editor makes several.
const gather = 50 * time.Millisecond

// changes tells that something below a directory may have changed, one that may not exist yet among them.
type changes struct {
	root    string
	watcher *fsnotify.Watcher
}

// follow watches from the return of this call on. Close it.
func follow(root string) (*changes, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	c := &changes{root: root, watcher: watcher}
	if err := c.watch(); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *changes) close() error { return c.watcher.Close() }

// watch adds what is there now: the directories that lead to the root, itself, and those in it. Adding one again does
// nothing, and one that went away takes its watch with it.
func (c *changes) watch() error {
	dirs := []string{c.root}
	for dir := filepath.Dir(c.root); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	entries, err := os.ReadDir(c.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(c.root, entry.Name())
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			dirs = append(dirs, path)
		}
	}
	for _, dir := range dirs {
		if err := c.watcher.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// next waits for a change; false when ctx is done or nothing can be watched any more.
func (c *changes) next(ctx context.Context) bool {
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case event, open := <-c.watcher.Events:
			if !open {
				return false
			}
			if due == nil && c.concerns(event.Name) {
				due = time.After(gather)
			}
		case _, open := <-c.watcher.Errors:
			if !open {
				return false
			}
			due = time.After(gather) // events were lost
		case <-due:
			// New directories are watched before they are read.
			return c.watch() == nil
		}
	}
}

// concerns leaves out the neighbours of the directories that lead to the root: much happens in /etc.
func (c *changes) concerns(name string) bool {
	return strings.HasPrefix(c.root+"/", name+"/") || strings.HasPrefix(name, c.root+"/")
}
