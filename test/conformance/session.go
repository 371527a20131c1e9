package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/boxyard/boxyard/test/conformance/report"
	"github.com/boxyard/boxyard/test/conformance/spec"
	"github.com/boxyard/boxyard/test/harness"
)

// session is one call of the command: a run of a suite, or the rest of one.
type session struct {
	opts       options
	repo       string
	tree       tree
	dir        string // results of this state of the tree
	upstream   upstream
	specs      []spec.Spec // the suite's own list
	unrunnable map[string]string
	record     *spec.Record
	known      map[string]float64 // seconds, from earlier runs
}

func open(ctx context.Context, repo string, opts options) (*session, error) {
	s := &session{opts: opts, repo: repo, upstream: upstream{dir: filepath.Join(repo, "build/e2e"), suite: opts.suite, repo: repo}}
	var err error
	if s.tree, err = readTree(ctx, repo); err != nil {
		return nil, err
	}
	if opts.state != "" {
		s.tree.state = opts.state
	}
	s.dir = filepath.Join(repo, "build/conformance", s.tree.state)
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	if s.specs, err = s.upstream.list(ctx, s.dir); err != nil {
		return nil, err
	}
	if opts.suite.unrunnable != "" {
		if s.unrunnable, err = spec.ReadReasons(filepath.Join(repo, opts.suite.unrunnable)); err != nil {
			return nil, err
		}
	}
	if err := s.narrow(); err != nil {
		return nil, err
	}
	if opts.fresh {
		if err := os.RemoveAll(s.recordFile(opts.run)); err != nil {
			return nil, err
		}
	}
	if s.record, err = spec.OpenRecord(s.recordFile(opts.run)); err != nil {
		return nil, err
	}
	s.known, err = s.seconds()
	return s, err
}

func (s *session) recordFile(run int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%d.json", s.opts.suite.name, run))
}

// narrow leaves the specs that the suite is about. A name in one of our lists that upstream does not have is
// an error: it would be left out in silence.
func (s *session) narrow() error {
	all := map[string]bool{}
	for _, one := range s.specs {
		all[one.Name] = true
	}
	focus, err := regexp.Compile(s.opts.suite.focus)
	if err != nil {
		return err
	}
	s.specs = slices.DeleteFunc(s.specs, func(one spec.Spec) bool { return !focus.MatchString(one.Name) })
	for name := range s.unrunnable {
		if !all[name] {
			return fmt.Errorf("%s: upstream has no spec %q", s.opts.suite.unrunnable, name)
		}
	}
	if s.opts.suite.list == "" {
		return nil
	}
	chosen, err := spec.ReadReasons(filepath.Join(s.repo, s.opts.suite.list))
	if err != nil {
		return err
	}
	for name := range chosen {
		if !all[name] {
			return fmt.Errorf("%s: upstream has no spec %q", s.opts.suite.list, name)
		}
	}
	s.specs = slices.DeleteFunc(s.specs, func(one spec.Spec) bool { _, ok := chosen[one.Name]; return !ok })
	return nil
}

// seconds is how long specs took in earlier runs: the one in docs, and those of this state.
func (s *session) seconds() (map[string]float64, error) {
	known := map[string]float64{}
	file, err := os.Open(filepath.Join(s.repo, "docs/conformance/junit-1.xml"))
	if err == nil {
		defer func() { _ = file.Close() }()
		if known, err = report.Seconds(file); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, one := range s.specs {
		if last, ok := s.record.Last(one.Name); ok {
			known[one.Name] = last.Seconds
		}
	}
	return known, nil
}

// work runs what has no result yet.
func (s *session) work(ctx context.Context) error {
	missing := slices.DeleteFunc(s.record.Missing(s.specs, s.opts.again), func(one spec.Spec) bool {
		_, cannot := s.unrunnable[one.Name]
		return cannot || !s.opts.focus.MatchString(one.Name)
	})
	say("%s, run %d, state %s: %d specs, %d to run", s.opts.suite.name, s.opts.run, s.tree.state, len(s.specs), len(missing))
	if len(missing) == 0 {
		return nil
	}
	say("starting the instance")
	in, err := harness.StartUp(ctx, harness.Options{}, filepath.Join(s.upstream.dir, "images.tar"))
	if err != nil {
		return err
	}
	err = s.batches(ctx, in, spec.Batches(missing, s.opts.batch, func(name string) float64 { return s.known[name] }))
	if err != nil {
		logs := filepath.Join(s.dir, "instance")
		err = errors.Join(err, os.RemoveAll(logs), os.CopyFS(logs, os.DirFS(in.LogPath("boxyard"))))
	}
	return errors.Join(err, in.Close())
}

func (s *session) batches(ctx context.Context, in *harness.Instance, batches []spec.Batch) error {
	began := time.Now()
	for i, b := range batches {
		start := time.Now()
		dir := filepath.Join(s.dir, fmt.Sprintf("%s-%d", s.opts.suite.name, s.opts.run), start.UTC().Format("20060102-150405"))
		results, err := s.upstream.run(ctx, in, b, s.opts.procs, dir)
		if addErr := s.record.Add(results); addErr != nil {
			return errors.Join(err, addErr)
		}
		how := "beside each other"
		if b.Serial {
			how = "one after the other"
		}
		say("batch %d of %d: %s; %d specs %s in %v, %v in all", i+1, len(batches), spec.Summary(results), len(b.Specs), how,
			time.Since(start).Round(time.Second), time.Since(began).Round(time.Second))
		if failErr := s.tellFailures(results, dir); failErr != nil {
			return errors.Join(err, failErr)
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if len(results) == 0 {
			return fmt.Errorf("none of the batch has a result; see %s", dir)
		}
	}
	return nil
}

// tellFailures names what failed, and keeps what it wrote.
func (s *session) tellFailures(results map[string]spec.Result, dir string) error {
	n := 0
	for name, result := range results {
		if result.State != spec.Failed {
			continue
		}
		n++
		file := filepath.Join(dir, fmt.Sprintf("failed-%d.txt", n))
		text := strings.Join([]string{name, result.Message, result.Output}, "\n\n")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		say("  failed: %s\n%s\n    %s", name, indent(result.Message), file)
	}
	return nil
}

// indent is the beginning of a message, for people.
func indent(message string) string {
	lines := strings.Split(strings.TrimSpace(message), "\n")
	return "    " + strings.Join(lines[:min(len(lines), 12)], "\n    ")
}

func say(format string, args ...any) {
	fmt.Printf(time.Now().Format("15:04:05 ")+format+"\n", args...)
}
