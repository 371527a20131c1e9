package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/test/conformance/spec"
)

// WritePage writes the page about the runs, the first of which has run 1's list of specs.
func WritePage(w io.Writer, runs []Run) error {
	var b strings.Builder
	b.WriteString(`# Conformance

What came of upstream's own end-to-end specs tagged [Conformance], run by ` + "`make conformance`" + ` on one node, confined as every
test here is. This page is written by that command, and so are the JUnit files beside it.

| run | date | commit | specs | passed | failed | skipped | not run yet |
|---|---|---|---|---|---|---|---|
`)
	for _, r := range runs {
		fmt.Fprintf(&b, "| [%d](conformance/junit-%d.xml) | %s | %s | %d | %d | %d | %d | %d |\n", r.Number, r.Number, r.Date, r.Commit,
			len(r.Cases), len(r.In(spec.Passed)), len(r.In(spec.Failed)), len(r.In(spec.Skipped)), len(r.In("")))
	}
	b.WriteString("\n")
	if len(runs) > 0 {
		for _, name := range slices.Sorted(maps.Keys(runs[0].Versions)) {
			fmt.Fprintf(&b, "- %s: %s\n", name, runs[0].Versions[name])
		}
	}
	for _, r := range runs {
		fmt.Fprintf(&b, "\n## Run %d\n", r.Number)
		section(&b, "Failed", r.In(spec.Failed), true)
		section(&b, "Skipped", r.In(spec.Skipped), true)
		section(&b, "Passed at a second attempt", r.Repeated(), false)
		section(&b, "Not run yet", r.In(""), false)
		section(&b, "Passed", r.In(spec.Passed), false)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func section(b *strings.Builder, title string, cases []Case, reasons bool) {
	if len(cases) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### %s (%d)\n\n", title, len(cases))
	for _, c := range cases {
		fmt.Fprintf(b, "- %s\n", escape(c.Name))
		if reasons {
			fmt.Fprintf(b, "  <br>%s\n", escape(firstLine(c.Message)))
		}
	}
}

func firstLine(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	const limit = 300
	if len(line) > limit {
		line = strings.ToValidUTF8(line[:limit], "") + " [...]"
	}
	return line
}

// escape keeps Markdown from taking a spec's brackets for a link, and its asterisks for emphasis.
func escape(text string) string {
	return strings.NewReplacer("[", `\[`, "]", `\]`, "*", `\*`, "_", `\_`, "<", "&lt;", "`", "\\`").Replace(text)
}
