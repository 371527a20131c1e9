package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/boxyard/boxyard/test/conformance/spec"
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

// options are what a person may choose.
type options struct {
	focus                       *regexp.Regexp
	part, again, fresh, onlyDoc bool
}

func parse(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("composesuite", flag.ContinueOnError)
	focus := flags.String("focus", "", "a regular expression: run only tests whose names match")
	flags.BoolVar(&opts.part, "part", false, "run the tests of part.txt, all of them anew, and write no document")
	flags.BoolVar(&opts.again, "again", false, "run those again that failed")
	flags.BoolVar(&opts.fresh, "fresh", false, "forget what there is so far")
	flags.BoolVar(&opts.onlyDoc, "report", false, "run nothing, write the document only")
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
	s := &session{opts: opts, repo: repo, dir: filepath.Join(repo, "build/compose")}
	if s.tests, err = s.list(ctx); err != nil {
		return err
	}
	file := filepath.Join(s.dir, "record.json")
	if opts.part {
		file = filepath.Join(s.dir, "part.json")
	}
	if opts.fresh || opts.part {
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
	if !opts.onlyDoc {
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
