package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mobysuite:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	opts, err := suite.Parse("mobysuite", "socket", "tests against Boxyard's socket", args)
	if err != nil {
		return err
	}
	repo, err := harness.Repository()
	if err != nil {
		return err
	}
	s := &session{opts: opts, repo: repo, dir: filepath.Join(repo, "build/moby")}
	if s.packages, err = list(filepath.Join(s.dir, "src/integration")); err != nil {
		return err
	}
	if s.record, err = opts.OpenRecord(s.dir, "socket"); err != nil {
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
