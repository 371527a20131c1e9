package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/boxyard/boxyard/test/conformance/report"
	"github.com/boxyard/boxyard/test/conformance/spec"
)

// runs is how many runs the documents tell of.
const runs = 2

// write writes the JUnit files of this state to build/conformance, and to docs, with the page about them, where
// the call was about a whole suite that belongs there.
func (s *session) write() error {
	var all []report.Run
	for number := 1; number <= max(runs, s.opts.run); number++ {
		record, err := spec.OpenRecord(s.recordFile(number))
		if err != nil {
			return err
		}
		run, err := s.describe(record, number)
		if err != nil {
			return err
		}
		if run.Date != "" { // something of it has run
			all = append(all, run)
		}
	}
	pages := s.opts.suite.pages && s.opts.focus.String() == "" && s.opts.state == ""
	for _, run := range all {
		junit := func(w io.Writer) error { return report.WriteJUnit(w, run) }
		if err := writeFile(filepath.Join(s.dir, fmt.Sprintf("%s-%d.xml", s.opts.suite.name, run.Number)), junit); err != nil {
			return err
		}
		if pages && run.Number <= runs {
			if err := writeFile(filepath.Join(s.repo, fmt.Sprintf("docs/conformance/junit-%d.xml", run.Number)), junit); err != nil {
				return err
			}
		}
	}
	if !pages || len(all) == 0 {
		return nil
	}
	return writeFile(filepath.Join(s.repo, "docs/conformance.md"), func(w io.Writer) error { return report.WritePage(w, all) })
}

func (s *session) describe(record *spec.Record, number int) (report.Run, error) {
	run := report.New(s.specs, record, s.unrunnable)
	run.Suite, run.Number, run.Commit = "Kubernetes e2e: "+s.opts.suite.name, number, s.tree.commit
	env, err := os.ReadFile(filepath.Join(s.repo, "build/upstream.env"))
	if err != nil {
		return run, err
	}
	run.Versions = map[string]string{}
	for line := range strings.Lines(string(env)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "kubernetes", "etcd", "containerd", "runc", "coredns", "cni":
			run.Versions[name] = value
		}
	}
	return run, nil
}

// verdict is an error where a spec of this run failed.
func (s *session) verdict() error {
	n := map[spec.State]int{}
	for _, one := range s.specs {
		if _, cannot := s.unrunnable[one.Name]; cannot {
			n[spec.Skipped]++
		} else if last, ok := s.record.Last(one.Name); ok {
			n[last.State]++
		}
	}
	done := n[spec.Passed] + n[spec.Failed] + n[spec.Skipped]
	say("%s, run %d: %d passed, %d failed, %d skipped, %d not run yet", s.opts.suite.name, s.opts.run,
		n[spec.Passed], n[spec.Failed], n[spec.Skipped], len(s.specs)-done)
	if n[spec.Failed] > 0 {
		return fmt.Errorf("%d specs failed", n[spec.Failed])
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}
