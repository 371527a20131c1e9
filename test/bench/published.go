package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// published is a figure that others have published: bench/published.json has those that a source was found for.
type published struct {
	Subject string `json:"subject"`
	Version string `json:"version"` // "" where the source does not say it
	Figure  string `json:"figure"`
	// Value is text: some are ranges, some are averages.
	Value      string `json:"value"`
	Conditions string `json:"conditions"`
	Title      string `json:"title"`
	URL        string `json:"url"`
	// Beside is the measure of ours that comes closest.
	Beside string `json:"beside"`
}

func readPublished(repo string) ([]published, error) {
	file := filepath.Join(repo, "bench", "published.json")
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read what others have published: %w", err)
	}
	var figures []published
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&figures); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, f := range figures {
		if f.Subject == "" || f.Figure == "" || f.Value == "" || f.Conditions == "" || f.Title == "" || !strings.HasPrefix(f.URL, "https://") {
			return nil, fmt.Errorf("%s: %q of %q is not whole: no figure without its conditions and source", file, f.Figure, f.Subject)
		}
	}
	return figures, nil
}

// publishedSection puts them beside ours. They are of other machines, so there is no ratio.
func publishedSection(figures []published, r *results) string {
	if len(figures) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n### Published by others\n\n" +
		"Not measured here: what others have published, of other machines and other years. Beside each is the median of the " +
		"measure of ours that comes closest; no two of them begin and end at the same moments.\n\n" +
		"| subject | figure | published | Boxyard here | conditions | source |\n|---|---|---|---|---|---|\n")
	for _, f := range figures {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | [%s](%s) |\n", strings.TrimSpace(f.Subject+" "+f.Version), f.Figure, f.Value,
			cmp.Or(oursBeside(f, r), "not measured yet"), f.Conditions, f.Title, f.URL)
	}
	return b.String()
}

func oursBeside(f published, r *results) string {
	ours := r.Measures[f.Beside]
	if ours == nil || len(ours.Samples[boxyard]) == 0 {
		return ""
	}
	return fmt.Sprintf("%s (%s)", ours.Unit.format(summarize(ours.Samples[boxyard]).Median), f.Beside)
}
