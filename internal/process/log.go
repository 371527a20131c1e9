package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rotateEvery is how often a log's size is looked at.
const rotateEvery = 10 * time.Second

// openLog opens the child's log file and returns its size, where the child's own lines begin.
func openLog(s Spec) (*os.File, int64, error) {
	if err := os.MkdirAll(filepath.Dir(s.LogFile), 0o755); err != nil {
		return nil, 0, fmt.Errorf("open the log of %s: %w", s.Name, err)
	}
	if err := rotate(s.LogFile, s.maxLogBytes(), s.Log.MaxFiles); err != nil { // a child that crashes at once lives too short for the ticker
		s.Logger.Warn("rotate the log", "component", s.Name, "error", err)
	}
	// Appending is what makes truncation right: the next write goes to the new end.
	f, err := os.OpenFile(s.LogFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, 0, fmt.Errorf("open the log of %s: %w", s.Name, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func (s Spec) maxLogBytes() int64 { return int64(s.Log.MaxSizeMB) << 20 }

// rotateLog keeps the log small until the process has ended or was released.
func (p *Process) rotateLog() {
	ticker := time.NewTicker(rotateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-p.done:
			return
		case <-p.left:
			return
		}
		if err := rotate(p.spec.LogFile, p.spec.maxLogBytes(), p.spec.Log.MaxFiles); err != nil {
			p.spec.Logger.Warn("rotate the log", "component", p.spec.Name, "error", err)
		}
	}
}

// rotate copies a file of more than limit bytes to path.1 and truncates it. Older copies move up;
// keep files stay, the live one included. Lines that are written between the copy's end and the
// truncation are lost: the child holds the file open, so it cannot be renamed. Where a full disk has
// no room for the copy all of it is lost: a log that cannot be rotated would keep the disk full.
func rotate(path string, limit int64, keep int) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if limit <= 0 || info.Size() <= limit {
		return nil
	}
	if keep > 1 {
		if err := keepCopy(path, keep); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				return err
			}
			return errors.Join(err, os.Remove(numbered(path, 1)), os.Truncate(path, 0))
		}
	}
	return os.Truncate(path, 0)
}

func keepCopy(path string, keep int) error {
	for n := keep - 1; n > 1; n-- {
		err := os.Rename(numbered(path, n-1), numbered(path, n))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(numbered(path, 1), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

func numbered(path string, n int) string { return path + "." + strconv.Itoa(n) }

// Tail returns up to so many of the last lines of a log, oldest first, going on in path.1 when the
// live file was rotated a short while ago. A log that does not exist has no lines.
func Tail(path string, lines int) ([]string, error) {
	got, err := tail(path, 0, lines)
	if err != nil || len(got) >= lines {
		return got, err
	}
	older, err := tail(numbered(path, 1), 0, lines-len(got))
	return append(older, got...), err
}

// tail reads no further back than from, unless the file has become shorter than that.
func tail(path string, from int64, lines int) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || lines <= 0 {
		return nil, err
	}
	if info.Size() < from {
		from = 0
	}
	data, err := lastBytes(f, from, info.Size(), lines)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		return nil, nil
	}
	all := strings.Split(text, "\n")
	return all[max(len(all)-lines, 0):], nil
}

// lastBytes reads from the end in blocks until it has so many lines or has come to from.
func lastBytes(f io.ReaderAt, from, end int64, lines int) ([]byte, error) {
	const block = 16 << 10
	var data []byte
	for end > from && bytes.Count(data, []byte("\n")) <= lines {
		start := max(end-block, from)
		part := make([]byte, end-start)
		// A file truncated meanwhile gives less than asked for.
		n, err := f.ReadAt(part, start)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		data = slices.Concat(part[:n], data)
		end = start
	}
	return data, nil
}
