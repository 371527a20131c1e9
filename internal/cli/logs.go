package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/fault"
)

func (a *App) logsCommand() *cobra.Command {
	var follow bool
	var lines int
	cmd := &cobra.Command{
		Use:   "logs [PART]",
		Short: "The log of a part, or of all; also when Boxyard is down",
		Args:  atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lines < 0 {
				return usage(cmd, "-n takes 0 or more")
			}
			return a.logs(cmd.Context(), strings.Join(args, ""), lines, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is added")
	cmd.Flags().IntVarP(&lines, "lines", "n", 50, "so many lines from the end, of each part")
	return cmd
}

func (a *App) logs(ctx context.Context, part string, lines int, follow bool) error {
	parts, err := a.loggedParts()
	if err != nil {
		return err
	}
	if part != "" {
		if !slices.Contains(parts, part) {
			return noLog(part, parts)
		}
		parts = []string{part}
	}
	var tails []*tail
	for _, p := range parts {
		t := &tail{path: a.Layout.LogFile(p), out: a.Out}
		if part == "" {
			t.prefix = fmt.Sprintf("%-12s| ", p)
		}
		defer t.close()
		if err := t.last(lines); err != nil {
			return logError(t.path, err)
		}
		tails = append(tails, t)
	}
	if !follow {
		return nil
	}
	return followAll(ctx, tails)
}

// loggedParts are the names of the live log files; rotated ones have a number behind .log.
func (a *App) loggedParts() ([]string, error) {
	files, err := filepath.Glob(a.Layout.LogFile("*"))
	if err != nil {
		return nil, err
	}
	var parts []string
	for _, f := range files {
		parts = append(parts, strings.TrimSuffix(filepath.Base(f), ".log"))
	}
	return parts, nil
}

func noLog(part string, parts []string) error {
	f := &fault.Error{Code: "no-log", Summary: "there is no log of " + part, Hint: "sudo boxyard up", Exit: fault.ExitUsage}
	if len(parts) > 0 {
		f.Hint = "boxyard logs " + strings.Join(parts, ", ")
	}
	return f
}

func logError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &fault.Error{Code: "needs-root", Summary: "no permission to read " + path, Hint: "sudo boxyard logs", Exit: fault.ExitNeedsRoot}
	}
	return fmt.Errorf("read the log: %w", err)
}

// tail is one log file and how far it was printed.
type tail struct {
	path   string
	prefix string // before each line
	out    io.Writer
	file   *os.File
	offset int64
	rest   []byte // an unfinished line
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}

// last prints the last n lines and leaves the offset at the end.
func (t *tail) last(n int) error {
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	t.file = f
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	start, err := startOfLast(f, end, n)
	if err != nil {
		return err
	}
	t.offset = start
	if err := t.more(); err != nil {
		return err
	}
	return t.flush()
}

// startOfLast finds where the last n lines begin, reading blocks from the end.
func startOfLast(f io.ReaderAt, end int64, n int) (int64, error) {
	if n == 0 {
		return end, nil
	}
	const block = 64 << 10
	buffer := make([]byte, block)
	found := 0
	for at := end; at > 0; {
		size := min(at, block)
		at -= size
		if _, err := f.ReadAt(buffer[:size], at); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for i := size - 1; i >= 0; i-- {
			if buffer[i] != '\n' || at+i == end-1 { // the newline at the very end begins no line
				continue
			}
			if found++; found == n {
				return at + i + 1, nil
			}
		}
	}
	return 0, nil
}

// more prints what was added. A file that has become shorter was rotated (copied and truncated):
// it is read from its beginning.
func (t *tail) more() error {
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < t.offset {
		t.offset = 0
	}
	data := make([]byte, info.Size()-t.offset)
	n, err := t.file.ReadAt(data, t.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	t.offset += int64(n)
	t.rest = append(t.rest, data[:n]...)
	for {
		line, rest, complete := bytes.Cut(t.rest, []byte("\n"))
		if !complete {
			return nil
		}
		t.rest = rest
		if _, err := fmt.Fprintf(t.out, "%s%s\n", t.prefix, line); err != nil {
			return err
		}
	}
}

// flush prints an unfinished last line.
func (t *tail) flush() error {
	if len(t.rest) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(t.out, "%s%s\n", t.prefix, t.rest)
	t.rest = nil
	return err
}

func followAll(ctx context.Context, tails []*tail) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for _, t := range tails {
			if err := t.more(); err != nil {
				return err
			}
		}
	}
}
