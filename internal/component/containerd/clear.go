package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// clear takes away what a containerd that was killed has left. None runs.
func (c *Component) clear(ctx context.Context) {
	if err := clearIngests(ingestDir(c.o)); err != nil {
		// It takes room, and is in nobody's way.
		slog.WarnContext(ctx, "what was cut short when containerd ended has left something", "error", err)
	}
}

// clearIngests deletes the directories of content that was being written, where there is no name in them: a kill came
// just after such a directory was made, or while it was deleted. containerd knows them by the name (plugins/content/local,
// WalkStatusRefs): it passes over those without one, and they stay for good.
func clearIngests(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for content that was cut short: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if _, err := os.Lstat(filepath.Join(path, "ref")); entry.IsDir() && errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}

// ingestDir has a directory for each content that is being written.
func ingestDir(o Options) string {
	return filepath.Join(o.Layout.DataOf(name), "io.containerd.content.v1.content", "ingest")
}
