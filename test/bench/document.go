package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeDocument makes docs/performance.md and its plots from the results, and from the chapter beside the plots that
// is written by hand.
func writeDocument(repo string, r *results) error {
	var b strings.Builder
	b.WriteString("# Performance\n\n" +
		"Written by `make bench`, which measures Boxyard and its peers in one run on one machine, in turns. " +
		"Every sample is in [bench/results.json](../bench/results.json). The shorter, the better; of rates, the higher.\n\n")
	fmt.Fprintf(&b, "Machine: %s, %d cores, %.0f GiB, %s, Linux %s.\n\n", cmp.Or(r.Machine.CPU, "unknown CPU"), r.Machine.Cores,
		float64(r.Machine.MemoryMB)/1024, r.Machine.System, r.Machine.Kernel)
	b.WriteString("| subject | version |\n|---|---|\n")
	for _, name := range subjectNames(r) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, r.Versions[name])
	}
	figures, err := readPublished(repo)
	if err != nil {
		return err
	}
	for _, g := range groups() {
		measured := false
		for _, m := range g.measures {
			res := r.Measures[m.Name]
			if res == nil {
				continue
			}
			if !measured {
				fmt.Fprintf(&b, "\n## %s\n", strings.ToUpper(g.name[:1])+g.name[1:])
				measured = true
			}
			b.WriteString(section(res))
			if err := writePlot(repo, m.Name, draw(res)); err != nil {
				return err
			}
		}
		if measured && g.name == starts {
			b.WriteString(publishedSection(figures, r))
		}
	}
	grown, err := growthChapter(repo, r)
	if err != nil {
		return err
	}
	b.WriteString(grown)
	// What the figures come from is found by looking, not by measuring: that chapter is written by hand.
	waterfall, err := os.ReadFile(filepath.Join(repo, "docs", "performance", "where-the-time-goes.md"))
	if err != nil {
		return fmt.Errorf("read the chapter that is written by hand: %w", err)
	}
	// It lies a folder below the page.
	b.WriteString("\n" + strings.ReplaceAll(string(waterfall), "](../", "]("))
	return os.WriteFile(filepath.Join(repo, "docs", "performance.md"), []byte(b.String()), 0o644)
}

func writePlot(repo, name, svg string) error {
	file := filepath.Join(repo, "docs", "performance", name+".svg")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(svg), 0o644)
}

// subjectNames has Boxyard first and the others by name.
func subjectNames(r *results) []string {
	return sortSubjects(slices.Collect(maps.Keys(r.Versions)))
}

func sortSubjects(names []string) []string {
	slices.SortFunc(names, func(a, b string) int {
		if (a == boxyard) != (b == boxyard) {
			if a == boxyard {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	return names
}

func section(r *result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n%s. Measured on %s, commit %s.\n\n", r.Name, r.What, r.Date, r.Commit)
	b.WriteString("| subject | median | p99 | least | samples | against Boxyard |\n|---|---|---|---|---|---|\n")
	ours := summarize(r.Samples[boxyard])
	for _, name := range sortSubjects(slices.Collect(maps.Keys(r.Samples))) {
		s := summarize(r.Samples[name])
		against := ""
		if name != boxyard && ours.Count > 0 {
			against = fmt.Sprintf("%.2f x", s.Median/ours.Median)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %s |\n", name,
			r.Unit.format(s.Median), r.Unit.format(s.P99), r.Unit.format(s.Least), s.Count, against)
	}
	fmt.Fprintf(&b, "\n![%s](performance/%s.svg)\n", r.Name, r.Name)
	for _, name := range slices.Sorted(maps.Keys(r.Except)) {
		fmt.Fprintf(&b, "\n- Without %s: %s.", name, r.Except[name])
	}
	for _, line := range verdicts(r) {
		fmt.Fprintf(&b, "\n- %s", line)
	}
	return b.String() + "\n"
}

// verdicts says of each budget whether it is kept, and what has changed since the run before.
func verdicts(r *result) []string {
	ours := summarize(r.Samples[boxyard])
	if ours.Count == 0 {
		return nil
	}
	var lines []string
	atLeast, within := "", func(value, budget float64) bool { return value <= budget }
	if r.Unit.more() {
		atLeast, within = ", at least", func(value, budget float64) bool { return value >= budget }
	}
	if r.Budget > 0 {
		lines = append(lines, fmt.Sprintf("Budget %s%s: %s.", r.Unit.format(r.Budget), atLeast, kept(within(ours.Median, r.Budget))))
	}
	if r.BudgetP99 > 0 {
		lines = append(lines, fmt.Sprintf("Budget %s of the p99: %s.", r.Unit.format(r.BudgetP99), kept(ours.P99 <= r.BudgetP99)))
	}
	if theirs := summarize(r.Samples[r.Peer]); r.Ratio > 0 && theirs.Count > 0 {
		ratio := ours.Median / theirs.Median
		lines = append(lines, fmt.Sprintf("Budget %.2f x %s%s: %s, with %.2f x.", r.Ratio, r.Peer, atLeast, kept(within(ratio, r.Ratio)), ratio))
	}
	if r.Before > 0 {
		change := "the same as"
		switch by := ours.Median / r.Before; {
		case by > 1.05 && !r.Unit.more(), by < 0.95 && r.Unit.more():
			change = fmt.Sprintf("worse (%.2f x) than", by)
		case by < 0.95, by > 1.05:
			change = fmt.Sprintf("better (%.2f x) than", by)
		}
		lines = append(lines, fmt.Sprintf("Boxyard is %s in the run before (%s, commit %s), which may have met another machine.",
			change, r.Unit.format(r.Before), r.BeforeCommit))
	}
	return lines
}

func kept(yes bool) string {
	if yes {
		return "kept"
	}
	return "**missed**"
}
