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

// outcome is what came of a test: a state, "" where it has not run yet, and for others than passed the reason.
type outcome struct {
	name   string
	state  spec.State
	reason string
}

func (s *session) outcomes(starts bool) []outcome {
	var all []outcome
	for _, p := range s.packages {
		for _, t := range p.tests {
			if t.starts != starts {
				continue
			}
			o := outcome{name: p.full(t)}
			if reason, ok := s.unrunnable[o.name]; ok {
				o.state, o.reason = spec.Skipped, reason
			} else if t.starts && !p.isolated() {
				o.state, o.reason = spec.Skipped, "its daemon would change the network of the machine that Boxyard is on"
			} else if last, ok := s.record.Last(o.name); ok {
				o.state, o.reason = last.State, said(last.Message)
				if reason, ok := s.explained[o.name]; ok && last.State == spec.Failed {
					o.reason = reason
				}
			}
			all = append(all, o)
		}
	}
	return all
}

var position = regexp.MustCompile(`^\S+\.go:\d+: `)

// said is why a test skipped itself, without the place in its source.
func said(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	return position.ReplaceAllString(line, "")
}

// write writes the document, where the call was about the whole suite.
func (s *session) write(ctx context.Context) error {
	if s.opts.socket || s.opts.focus.String() != "" {
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
		all := s.outcomes(g.starts)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d |\n", g.title, len(all),
			len(in(all, spec.Passed)), len(in(all, spec.Failed)), len(in(all, spec.Skipped)), len(in(all, "")))
	}
	for _, g := range groups() {
		all := s.outcomes(g.starts)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", g.title, g.about)
		section(&b, "Failed", in(all, spec.Failed))
		section(&b, "Skipped", in(all, spec.Skipped))
		section(&b, "Not run yet", in(all, ""))
		section(&b, "Passed", in(all, spec.Passed))
	}
	return os.WriteFile(filepath.Join(s.repo, "docs/compatibility.md"), []byte(b.String()), 0o644)
}

func in(all []outcome, state spec.State) []outcome {
	var some []outcome
	for _, o := range all {
		if o.state == state {
			some = append(some, o)
		}
	}
	return some
}

func section(b *strings.Builder, title string, all []outcome) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s (%d)\n\n", title, len(all))
	for _, o := range all {
		if o.reason == "" {
			fmt.Fprintf(b, "- %s\n", o.name)
		} else {
			fmt.Fprintf(b, "- %s: %s\n", o.name, strings.ReplaceAll(o.reason, "|", `\|`))
		}
	}
}

// verdict is an error where a test failed that nothing explains.
func (s *session) verdict() error {
	count, unexplained := map[spec.State]int{}, 0
	for _, p := range s.packages {
		for _, t := range p.tests {
			if !s.wants(p, t) {
				continue
			}
			last, _ := s.record.Last(p.full(t))
			count[last.State]++
			if _, ok := s.explained[p.full(t)]; last.State == spec.Failed && !ok {
				unexplained++
			}
		}
	}
	say("%d passed, %d failed, %d skipped, %d not run yet", count[spec.Passed], count[spec.Failed], count[spec.Skipped], count[""])
	if unexplained > 0 {
		return fmt.Errorf("%d tests failed for reasons that test/mobysuite/explained.txt does not give", unexplained)
	}
	return nil
}
