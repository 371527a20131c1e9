package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/boxyard/boxyard/test/conformance/spec"
	"github.com/boxyard/boxyard/test/suite"
)

// group is one half of the suite in the document.
type group struct {
	title, about string
	starts       bool
}

func groups() []group {
	return []group{
		{"Against Boxyard's socket", "Tests that use the daemon which is there.", false},
		{"With a daemon of their own", "Tests that start dockerd themselves, with upstream's defaults and options of their own: the program is the engine of the payload, the daemon is not Boxyard's.", true},
	}
}

func (s *session) outcomes(starts bool) []suite.Outcome {
	var all []suite.Outcome
	for _, p := range s.packages {
		for _, t := range p.tests {
			if t.starts != starts {
				continue
			}
			o := suite.OutcomeOf(p.full(t), s.record, s.explained)
			if reason, ok := s.unrunnable[o.Name]; ok {
				o.State, o.Reason = spec.Skipped, reason
			} else if t.starts && !p.isolated() {
				o.State, o.Reason = spec.Skipped, "its daemon would change the network of the machine that Boxyard is on"
			}
			all = append(all, o)
		}
	}
	return all
}

// write writes the document, where the call was about the whole suite.
func (s *session) write(ctx context.Context) error {
	if s.opts.Part || s.opts.Focus.String() != "" {
		return nil
	}
	commit, err := exec.CommandContext(ctx, "git", "-C", s.repo, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return fmt.Errorf("read the commit: %w", err)
	}
	env, err := os.ReadFile(filepath.Join(s.repo, "build/upstream.env"))
	if err != nil {
		return err
	}
	version := regexp.MustCompile(`(?m)^docker=(.*)$`).FindSubmatch(env)
	if version == nil {
		return fmt.Errorf("build/upstream.env has no version of docker")
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Compatibility

What came of moby's own integration tests of the Docker API, version %s, run by `+"`make moby-suite`"+` in a confined
instance at commit %s. This page is written by that command. The images that the tests use are stand-ins, made from
files and Debian packages.

| | tests | passed | failed | skipped | not run yet |
|---|---|---|---|---|---|
`, version[1], strings.TrimSpace(string(commit)))
	for _, g := range groups() {
		suite.Row(&b, g.title, s.outcomes(g.starts))
	}
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", g.title, g.about)
		suite.Sections(&b, s.outcomes(g.starts))
	}
	return os.WriteFile(filepath.Join(s.repo, "docs/compatibility.md"), []byte(b.String()), 0o644)
}

// verdict is an error where a test failed that nothing explains.
func (s *session) verdict() error {
	var names []string
	for _, p := range s.packages {
		for _, t := range p.tests {
			if s.wants(p, t) {
				names = append(names, p.full(t))
			}
		}
	}
	return suite.Verdict(names, s.record, s.explained, "test/mobysuite/explained.txt")
}
