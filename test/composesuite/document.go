package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/test/conformance/spec"
	"github.com/boxyard/boxyard/test/suite"
)

func (s *session) outcomes() []suite.Outcome {
	var all []suite.Outcome
	for _, name := range s.tests {
		o := suite.OutcomeOf(name, s.record, s.explained)
		if reason, ok := s.unrunnable[name]; ok {
			o.State, o.Reason = spec.Skipped, reason
		}
		all = append(all, o)
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
	module, err := os.ReadFile(filepath.Join(s.repo, "clients/go.mod"))
	if err != nil {
		return err
	}
	version := regexp.MustCompile(`github.com/docker/compose/v5 (v\S+)`).FindSubmatch(module)
	if version == nil {
		return fmt.Errorf("clients/go.mod has no version of Compose")
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Compatibility: Compose

What came of Compose's own end-to-end tests, version %s, run by `+"`make compose-suite`"+` in a confined instance at commit
%s. This page is written by that command. The images that the tests use are stand-ins, made from files and Debian
packages, in a registry that stands for Docker Hub.

| | tests | passed | failed | skipped | not run yet |
|---|---|---|---|---|---|
`, version[1], strings.TrimSpace(string(commit)))
	all := s.outcomes()
	suite.Row(&b, "pkg/e2e", all)
	suite.Sections(&b, all)
	return os.WriteFile(filepath.Join(s.repo, "docs/compatibility-compose.md"), []byte(b.String()), 0o644)
}

// verdict is an error where a test failed that nothing explains.
func (s *session) verdict() error {
	names := slices.DeleteFunc(slices.Clone(s.tests), func(name string) bool { return !s.wants(name) })
	return suite.Verdict(names, s.record, s.explained, "test/composesuite/explained.txt")
}
