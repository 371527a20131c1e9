package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	only   *regexp.Regexp
	rounds int // 0: as many as each measure wants
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "measure what this regular expression matches")
	rounds := flags.Int("rounds", 0, "rounds of each measure; 0 takes each measure's own number")
	draw := flags.Bool("document", false, "measure nothing, write docs/performance.md from bench/results.json")
	if err := flags.Parse(args); err != nil {
		return err
	}
	expression, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	repo, err := harness.Repository()
	if err != nil {
		return err
	}
	file := filepath.Join(repo, "bench", "results.json")
	results, err := readResults(file)
	if err != nil {
		return err
	}
	if !*draw {
		b := &bench{opts: options{only: expression, rounds: *rounds}, repo: repo, results: results}
		err = b.all(ctx)
		// What was measured before an error is worth keeping.
		err = errors.Join(err, b.results.write(file))
	}
	return errors.Join(err, writeDocument(repo, results))
}

// bench is one call of the command.
type bench struct {
	opts    options
	repo    string
	results *results
}

// all measures group by group: the subjects of one live at the same time, and no longer. Of a group that fails, as one
// with a peer that hangs, the error is told at once, and its name at the end; the others are measured.
func (b *bench) all(ctx context.Context) error {
	if err := b.results.begin(ctx, b.repo); err != nil {
		return err
	}
	var failed []string
	for _, g := range groups() {
		var wanted []measure
		for _, m := range g.measures {
			if b.opts.only.MatchString(m.Name) {
				wanted = append(wanted, m)
			}
		}
		if len(wanted) == 0 || ctx.Err() != nil {
			continue
		}
		if err := b.group(ctx, g, wanted); err != nil {
			say("%s: %v", g.name, err)
			failed = append(failed, g.name)
		}
	}
	err := b.grow(ctx)
	if len(failed) > 0 {
		err = errors.Join(fmt.Errorf("failed, each with its error above: %s", strings.Join(failed, ", ")), err)
	}
	return err
}

func (b *bench) group(ctx context.Context, g group, wanted []measure) error {
	say("==> %s", g.name)
	subjects, err := g.start(ctx, b.repo)
	for _, s := range subjects {
		if err == nil {
			b.results.Versions[s.name] = s.version
		}
	}
	for _, m := range wanted {
		if err == nil {
			err = b.measure(ctx, m, subjects)
		}
	}
	for _, s := range subjects {
		err = errors.Join(err, s.close())
	}
	return err
}

// measure takes the samples in rounds. Each round begins with another subject, and the first is thrown away: it
// finds caches cold that the others find warm.
func (b *bench) measure(ctx context.Context, m measure, subjects []*subject) error {
	rounds := cmp.Or(b.opts.rounds, m.rounds)
	subjects = slices.DeleteFunc(slices.Clone(subjects), func(s *subject) bool { return m.Except[s.name] != "" })
	samples := map[string][]float64{}
	warm := 0
	if m.warm {
		warm = 1
	}
	for round := range rounds + warm {
		for i := range subjects {
			s := subjects[(i+round)%len(subjects)]
			ctx, cancel := context.WithTimeout(ctx, cmp.Or(m.limit, 2*time.Minute))
			values, err := m.sample(ctx, s)
			cancel()
			if err != nil {
				return fmt.Errorf("%s of %s: %w", m.Name, s.name, err)
			}
			if round >= warm {
				samples[s.name] = append(samples[s.name], values...)
			}
		}
	}
	b.results.record(m, samples)
	for _, s := range subjects {
		say("%-14s %-12s %s", m.Name, s.name, summarize(samples[s.name]).in(m.Unit))
	}
	return nil
}

func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }
