package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/boxyard/boxyard/test/conformance/spec"
	"github.com/boxyard/boxyard/test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mobysuite:", err)
		os.Exit(1)
	}
}

// options are what a person may choose.
type options struct {
	focus  *regexp.Regexp
	socket bool
	again  bool
	fresh  bool
	report bool
}

func parse(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("mobysuite", flag.ContinueOnError)
	focus := flags.String("focus", "", "a regular expression: run only tests whose names match")
	flags.BoolVar(&opts.socket, "socket", false, "run only tests against Boxyard's socket, all of them anew, and write no document")
	flags.BoolVar(&opts.again, "again", false, "run those again that failed")
	flags.BoolVar(&opts.fresh, "fresh", false, "forget what there is so far")
	flags.BoolVar(&opts.report, "report", false, "run nothing, write the document only")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	var err error
	if opts.focus, err = regexp.Compile(*focus); err != nil {
		return opts, fmt.Errorf("-focus: %w", err)
	}
	return opts, nil
}

func run(ctx context.Context, args []string) error {
	opts, err := parse(args)
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
	file := filepath.Join(s.dir, "record.json")
	if opts.socket {
		file = filepath.Join(s.dir, "socket.json")
	}
	if opts.fresh || opts.socket {
		if err := os.RemoveAll(file); err != nil {
			return err
		}
	}
	if s.record, err = spec.OpenRecord(file); err != nil {
		return err
	}
	if err := s.readLists(); err != nil {
		return err
	}
	if !opts.report {
		err = s.work(ctx)
	}
	return errors.Join(err, s.write(ctx), s.verdict())
}
