package payload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/payload/archive"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// completeFile is in a set that was verified and has reached the disk. It holds the ID.
	completeFile = ".complete"
	// idLength of the ID's digits name a set's directory.
	idLength = 16
	// tmpPrefix is that of directories under construction or removal. They mean nothing to anybody.
	tmpPrefix = ".tmp-"
	// maxWorkers bounds the memory: each has a whole frame, some 300 MB at most, for a moment.
	maxWorkers = 3
)

// Extract makes sure that the set is under root, verified and complete, and
// that root/current leads to it; root/previous leads to the one before. Where it
// is there already this costs a few system calls. It waits for another process that extracts to
// the same root. A damaged file gives a fault payload-corrupt and leaves nothing behind.
func (p *Payload) Extract(ctx context.Context, root string) (Set, error) {
	if p.dir != "" {
		return p.set(p.dir), nil
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return Set{}, fmt.Errorf("extract payload: %w", err)
	}
	name := p.id[:idLength]
	dir := filepath.Join(root, name)
	if p.complete(dir) && linkTarget(root, currentLink) == name {
		return p.set(dir), nil
	}
	if err := p.extract(ctx, root, name); err != nil {
		return Set{}, extractError(root, err)
	}
	return p.set(dir), nil
}

func extractError(root string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &fault.Error{
			Code:    "disk-full",
			Summary: fmt.Sprintf("no space left for Boxyard's binaries in %s", root),
			Hint:    "free 1 GB there and try again",
			Cause:   err,
		}
	}
	return fmt.Errorf("extract payload: %w", err)
}

func (p *Payload) extract(ctx context.Context, root, name string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	unlock, err := lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeLeftovers(root); err != nil {
		return err
	}
	// Another process may have made it while this one waited.
	if !p.complete(filepath.Join(root, name)) {
		if err := p.build(ctx, root, name); err != nil {
			return err
		}
	}
	if err := switchTo(root, name); err != nil {
		return err
	}
	return prune(root)
}

// complete says whether dir is the whole set. Contents were verified when it
// was made: here only what a torn copy or a curious hand changes is looked at.
func (p *Payload) complete(dir string) bool {
	id, err := os.ReadFile(filepath.Join(dir, completeFile))
	if err != nil || string(id) != p.id {
		return false
	}
	for _, f := range p.manifest.Files {
		info, err := os.Lstat(filepath.Join(dir, f.Name))
		if err != nil || info.Size() != f.Size || info.Mode() != fs.FileMode(f.Mode) {
			return false
		}
	}
	for _, l := range p.manifest.Links {
		if target, err := os.Readlink(filepath.Join(dir, l.Name)); err != nil || target != l.Target {
			return false
		}
	}
	return true
}

// build makes the set under another name and renames it once it is on the disk.
func (p *Payload) build(ctx context.Context, root, name string) (err error) {
	tmp, err := os.MkdirTemp(root, tmpPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := p.makeNames(tmp); err != nil {
		return err
	}
	if err := p.unpack(ctx, tmp); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(tmp, completeFile), []byte(p.id), 0o644); err != nil {
		return err
	}
	if err := syncDirs(tmp); err != nil {
		return err
	}
	// One that is damaged makes room; a process that runs from it keeps its open files.
	dir := filepath.Join(root, name)
	if err := discard(dir); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(root)
}

// makeNames makes the directories and the links.
func (p *Payload) makeNames(dir string) error {
	for _, f := range p.manifest.Files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f.Name)), 0o755); err != nil {
			return err
		}
	}
	for _, l := range p.manifest.Links {
		path := filepath.Join(dir, l.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(l.Target, path); err != nil {
			return err
		}
	}
	return nil
}

// unpack writes the files, frames side by side.
func (p *Payload) unpack(ctx context.Context, dir string) error {
	exe, err := os.Open(p.exe)
	if err != nil {
		return err
	}
	defer exe.Close()

	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(max(2, runtime.GOMAXPROCS(0)), maxWorkers))
	// The largest first, so that the workers end together.
	order := make([]int, len(p.manifest.Frames))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return int(p.manifest.Frames[b].Size - p.manifest.Frames[a].Size)
	})
	for _, i := range order {
		group.Go(func() error { return p.unpackFrame(ctx, exe, i, dir) })
	}
	group.Go(func() error { return p.verifyProgram(ctx, exe) })
	return group.Wait()
}

// verifyProgram looks at the part of the file that no frame covers: the program that runs now.
func (p *Payload) verifyProgram(ctx context.Context, exe io.ReaderAt) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(exe, 0, p.manifest.Program.Size)); err != nil {
		return err
	}
	if hex.EncodeToString(hash.Sum(nil)) != p.manifest.Program.SHA256 {
		return corrupt(p.exe, errors.New("the program's checksum is wrong"))
	}
	return nil
}

// unpackFrame writes the files of frame i.
func (p *Payload) unpackFrame(ctx context.Context, exe io.ReaderAt, i int, dir string) error {
	content, free, err := p.readFrame(ctx, exe, p.manifest.Frames[i])
	if err != nil {
		return err
	}
	defer free()
	files, ctx := errgroup.WithContext(ctx)
	files.SetLimit(maxWorkers) // of the processors; the memory is the frame's
	for _, f := range p.manifest.Files {
		if f.Frame != i {
			continue
		}
		files.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			data := content[f.Offset : f.Offset+f.Size]
			if f.Branches != nil {
				archive.DecodeBranches(data[f.Branches.Offset : f.Branches.Offset+f.Branches.Length])
			}
			return p.writeFile(dir, f, data)
		})
	}
	return files.Wait()
}

// writeFile writes a file, verifies what it wrote, and waits until it is on the disk.
func (p *Payload) writeFile(dir string, f archive.File, data []byte) error {
	out, err := os.OpenFile(filepath.Join(dir, f.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // a second Close does no harm

	hash := sha256.New()
	for offset := int64(0); offset < f.Size; offset += writeSize {
		part := data[offset:min(offset+writeSize, f.Size)]
		hash.Write(part)
		if _, err := out.Write(part); err != nil {
			return err
		}
		// The disk works while the next part is made: the sync below has little left to wait for.
		_ = unix.SyncFileRange(int(out.Fd()), offset, int64(len(part)), unix.SYNC_FILE_RANGE_WRITE)
	}
	if hex.EncodeToString(hash.Sum(nil)) != f.SHA256 {
		return corrupt(p.exe, fmt.Errorf("%s: the checksum is wrong", f.Name))
	}
	return errors.Join(out.Chmod(fs.FileMode(f.Mode)), out.Sync(), out.Close())
}
