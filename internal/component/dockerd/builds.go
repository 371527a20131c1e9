package dockerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// buildSteps are the containers by which BuildKit runs the steps of builds.
type buildSteps struct {
	runc     string // the executable
	executor string // each step has a directory in there, which is called like its container
	mounts   string // of dockerd's temporary mounts; see environment
	// temporary are dockerd's directories of temporary files, where BuildKit mounts too. dockerd renames the first to
	// the second when it starts and deletes that, with what is still mounted in it.
	temporary []string
	env       []string
	unmount   func(path string) error
}

func stepsOf(o Options) buildSteps {
	return buildSteps{
		runc:      filepath.Join(o.Payload, "runc"),
		executor:  filepath.Join(o.Layout.DataOf("docker"), "buildkit", "executor"),
		mounts:    mountsDir(o),
		temporary: []string{filepath.Join(o.Layout.DataOf("docker"), "tmp"), filepath.Join(o.Layout.DataOf("docker"), "tmp-old")},
		env:       environment(o),
		unmount:   func(path string) error { return unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) },
	}
}

// clear ends the steps of builds that a dockerd has left which did not end well. Nobody waits for their result any
// more: BuildKit runs each RUN by runc alone, without a shim, and a new BuildKit knows nothing of what the last one
// had started (its executor/runcexecutor cleans up only after itself). Left alone, such a step runs on, and its mount,
// its network interface and its directory stay. No dockerd may run.
func (b buildSteps) clear(ctx context.Context) error {
	steps, err := b.list()
	if err != nil {
		return err
	}
	var errs []error
	for _, step := range steps {
		if err := b.clearStep(ctx, filepath.Join(b.executor, step)); err != nil {
			errs = append(errs, fmt.Errorf("clear the build step %s: %w", step, err))
		}
	}
	// After the steps, which may have them as their files.
	entries, err := readDir(b.mounts)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, entry := range entries {
		path := filepath.Join(b.mounts, entry.Name())
		errs = append(errs, b.remove(path, path))
	}
	for _, dir := range b.temporary {
		names, err := mountedBelow(dir)
		errs = append(errs, err)
		for _, name := range names {
			errs = append(errs, b.remove(filepath.Join(dir, name), filepath.Join(dir, name)))
		}
	}
	return errors.Join(errs...)
}

// list names the steps that run, or were left.
func (b buildSteps) list() ([]string, error) {
	entries, err := readDir(b.executor)
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, entry := range entries {
		// Beside the steps' directories there are files that all of them share.
		if _, err := os.Lstat(filepath.Join(b.executor, entry.Name(), "rootfs")); err == nil {
			steps = append(steps, entry.Name())
		}
	}
	return steps, nil
}

func readDir(dir string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for builds that were cut short: %w", err)
	}
	return entries, nil
}

func (b buildSteps) clearStep(ctx context.Context, bundle string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	// With --force it kills what still runs, and is content where there is no such container.
	cmd := exec.CommandContext(ctx, b.runc, "delete", "--force", filepath.Base(bundle))
	cmd.Env = b.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("runc delete: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return b.remove(bundle, filepath.Join(bundle, "rootfs"))
}

// remove deletes dir, when nothing is mounted at mount any more: what lies there would be an image's files.
func (b buildSteps) remove(dir, mount string) error {
	for {
		err := b.unmount(mount)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			return os.RemoveAll(dir)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", mount, err)
		}
	}
}

// mountsDir is where dockerd mounts for a moment.
func mountsDir(o Options) string { return filepath.Join(o.Layout.DataOf("docker"), "mounts") }
