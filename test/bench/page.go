package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/boxyard/boxyard/test/load"
)

// write makes files in a directory of the subject.
func (s *subject) write(dir string, files map[string]string) error {
	return s.in.Inside(func() error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		for name, content := range files {
			if err := writeChanged(filepath.Join(dir, name), content); err != nil {
				return err
			}
		}
		return nil
	})
}

// writeChanged leaves a file alone that is as it should be: its time says whether it has changed.
func writeChanged(path, content string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return nil
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// shows asks once for / at an address and wants this text. It sends the request by hand: a client of net/http would
// keep what it learns from one try for the next. A SYN that meets a port in the making may be lost, and the kernel
// sends it again only after a second: no try waits for that.
func shows(ctx context.Context, s *subject, address, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	conn, err := s.in.Dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return err
	}
	got, err := io.ReadAll(io.LimitReader(conn, 1<<16))
	if err != nil {
		return err
	}
	if !bytes.Contains(got, []byte(text)) {
		return fmt.Errorf("%s shows no %q: %q", address, text, got)
	}
	return nil
}

// askMeanwhile sends requests until the returned function is called, which says whether one has failed.
func askMeanwhile(ctx context.Context, s *subject, url string) func() error {
	ctx, cancel := context.WithCancel(ctx)
	type outcome struct {
		results []load.Result
		err     error
	}
	done := make(chan outcome, 1)
	go func() {
		results, err := load.Run(ctx, load.Plan{
			URL: url, Rate: 50, Duration: 5 * time.Minute, Mode: load.New, Dial: s.in.Dial,
		})
		done <- outcome{results, err}
	}()
	return func() error {
		cancel()
		o := <-done
		if sum := load.Summarize(o.results); o.err == nil && (sum.Failed > 0 || sum.Sent == 0) {
			return fmt.Errorf("%d of %d requests failed: %v", sum.Failed, sum.Sent, sum)
		}
		return o.err
	}
}
