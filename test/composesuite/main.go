package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "composesuite:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	opts, err := suite.Parse("composesuite", "part", "the tests of part.txt", args)
	if err != nil {
		return err
	}
	repo, err := harness.Repository()
	if err != nil {
		return err
	}
	s := &session{opts: opts, repo: repo, dir: filepath.Join(repo, "build/compose")}
	if s.tests, err = s.list(ctx); err != nil {
		return err
	}
	if s.record, err = opts.OpenRecord(s.dir, "part"); err != nil {
		return err
	}
	if err := s.readLists(); err != nil {
		return err
	}
	if !opts.Report {
		err = s.work(ctx)
	}
	return errors.Join(err, s.write(ctx), s.verdict())
}

// list is the suite's own list.
func (s *session) list(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, s.program(), "-test.list=.").Output()
	if err != nil {
		return nil, fmt.Errorf("list Compose's tests: %w", err)
	}
	return strings.Fields(string(out)), nil
}

func (s *session) readLists() error {
	known := func(name string) bool { return slices.Contains(s.tests, name) }
	for name, into := range map[string]*map[string]string{"unrunnable.txt": &s.unrunnable, "explained.txt": &s.explained, "part.txt": &s.part} {
		var err error
		if *into, err = suite.Reasons(filepath.Join(s.repo, "test/composesuite", name), known); err != nil {
			return err
		}
	}
	return nil
}
