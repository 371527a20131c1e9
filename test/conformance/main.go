package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/boxyard/boxyard/test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// options are what a person may choose.
type options struct {
	suite  suite
	focus  *regexp.Regexp
	run    int
	procs  int
	batch  int
	again  bool
	fresh  bool
	report bool
	state  string
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
	session, err := open(ctx, repo, opts)
	if err != nil {
		return err
	}
	if !opts.report {
		err = session.work(ctx)
	}
	return errors.Join(err, session.write(), session.verdict())
}

func parse(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	name := flags.String("suite", "conformance", "which of upstream's specs: conformance, sample, networkpolicy, storage")
	focus := flags.String("focus", "", "a regular expression: run only specs whose names match")
	flags.IntVar(&opts.run, "run", 1, "the number of the run; each has results of its own")
	flags.IntVar(&opts.procs, "procs", 6, "how many specs run beside each other")
	flags.IntVar(&opts.batch, "batch", 48, "how many specs ginkgo gets at once; results are kept after each batch")
	flags.BoolVar(&opts.again, "again", false, "run those again that failed")
	flags.BoolVar(&opts.fresh, "fresh", false, "forget what this run has so far")
	flags.StringVar(&opts.state, "state", "", "keep results under this name, not that of the tree's state: for work on Boxyard")
	flags.BoolVar(&opts.report, "report", false, "run nothing, write the documents only")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	var err error
	if opts.suite, err = findSuite(*name); err != nil {
		return opts, err
	}
	if opts.focus, err = regexp.Compile(*focus); err != nil {
		return opts, fmt.Errorf("-focus: %w", err)
	}
	if opts.run < 1 || opts.procs < 1 || opts.batch < 1 {
		return opts, errors.New("-run, -procs and -batch start at 1")
	}
	return opts, nil
}
