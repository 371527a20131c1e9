package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/boxyard/boxyard/internal/payload/archive"
	"golang.org/x/sync/errgroup"
)

type packer struct {
	dir   string
	cache string
	level int
}

// window is log2 of how far back zstd looks; internal/payload must allow as much. One binary of Kubernetes
// repeats much of another, more than a hundred megabytes further on.
const window = "28"

// frame is a compressed group.
type frame struct {
	path  string // in the cache
	size  int64  // unpacked
	files []archive.File
}

// compressGroup fills the cache with the frame of the file called name.
func (p packer) compressGroup(ctx context.Context, name string) error {
	files, _, err := scan(p.dir)
	if err != nil {
		return err
	}
	_, err = p.compress(ctx, members(files, groupOf(name)))
	return err
}

func members(files []archive.File, group int) []archive.File {
	var of []archive.File
	for _, f := range files {
		if groupOf(f.Name) == group {
			of = append(of, f)
		}
	}
	order := groups()[group]
	slices.SortStableFunc(of, func(a, b archive.File) int {
		return cmp.Compare(slices.Index(order, a.Name), slices.Index(order, b.Name))
	})
	return of
}

// compress makes the frame of the files, or finds it in the cache.
func (p packer) compress(ctx context.Context, files []archive.File) (frame, error) {
	if len(files) == 0 {
		return frame{}, errors.New("a group without files: is something not built?")
	}
	var content []byte
	for i := range files {
		f := &files[i]
		data, err := os.ReadFile(filepath.Join(p.dir, f.Name))
		if err != nil {
			return frame{}, err
		}
		f.Size, f.Offset, f.SHA256 = int64(len(data)), int64(len(content)), hash(data)
		if f.Branches = machineCode(data); f.Branches != nil {
			archive.EncodeBranches(data[f.Branches.Offset : f.Branches.Offset+f.Branches.Length])
		}
		content = append(content, data...)
	}
	result := frame{
		path:  filepath.Join(p.cache, hash(content)+"-"+strconv.Itoa(p.level)+"-"+window+".zst"),
		size:  int64(len(content)),
		files: files,
	}
	if _, err := os.Stat(result.path); err == nil {
		return result, nil
	}
	return result, p.zstd(ctx, content, result.path)
}

// zstd compresses content to path. One thread: with more, the result depends on their number.
func (p packer) zstd(ctx context.Context, content []byte, path string) error {
	if err := os.MkdirAll(p.cache, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(p.cache, ".tmp-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// From a file, because only so the frame has its size in the header.
	in, out := filepath.Join(tmp, "in"), filepath.Join(tmp, "out")
	if err := os.WriteFile(in, content, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "zstd", "-q", "--single-thread", "--no-check",
		"-"+strconv.Itoa(p.level), "--long="+window, in, "-o", out)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run zstd: %w", err)
	}
	return os.Rename(out, path)
}

// write writes the program with all that is in the directory behind it.
func (p packer) write(ctx context.Context, program, out string) error {
	files, links, err := scan(p.dir)
	if err != nil {
		return err
	}
	frames := make([]frame, len(groups()))
	tasks, ctx := errgroup.WithContext(ctx)
	for i := range frames {
		tasks.Go(func() (err error) {
			frames[i], err = p.compress(ctx, members(files, i))
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		return err
	}
	versions, err := os.ReadFile(filepath.Join(p.dir, "versions.json"))
	if err != nil {
		return err
	}
	m := archive.Manifest{Links: links}
	if err := json.Unmarshal(versions, &m.Versions); err != nil {
		return fmt.Errorf("read versions.json: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	tmp := out + ".tmp"
	if err := writeTo(tmp, program, m, frames); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	// A rename, because the old one may be running.
	return os.Rename(tmp, out)
}

func writeTo(out, program string, m archive.Manifest, frames []frame) error {
	w, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	defer w.Close()
	if m.Program.Size, m.Program.SHA256, err = appendFile(w, program); err != nil {
		return err
	}
	offset := int64(0)
	for i, f := range frames {
		length, sum, err := appendFile(w, f.path)
		if err != nil {
			return err
		}
		m.Frames = append(m.Frames, archive.Frame{Offset: offset, Length: length, Size: f.size, SHA256: sum})
		offset += length
		for _, file := range f.files {
			file.Frame = i
			m.Files = append(m.Files, file)
		}
	}
	if err := archive.WriteEnd(w, m); err != nil {
		return err
	}
	return w.Close()
}

func appendFile(w io.Writer, path string) (size int64, sum string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(w, h), f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
