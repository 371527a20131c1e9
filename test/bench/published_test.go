package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestPublishedFiguresHaveSources(t *testing.T) {
	figures, err := readPublished(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, g := range groups() {
		for _, m := range g.measures {
			known[m.Name] = true
		}
	}
	for _, f := range figures {
		if !known[f.Beside] {
			t.Errorf("%s of %s is beside %q, which is no measure", f.Figure, f.Subject, f.Beside)
		}
	}
}

func TestPublishedFigureWithoutSourceIsRefused(t *testing.T) {
	repo := t.TempDir()
	writeFile(t, filepath.Join(repo, publishedFile), `[{"subject": "a", "figure": "start", "value": "1 s", "conditions": "none"}]`)
	if _, err := readPublished(repo); err == nil || !strings.Contains(err.Error(), `"start" of "a"`) {
		t.Errorf("got %v", err)
	}
}

func TestPublishedSectionShowsOursBeside(t *testing.T) {
	figures := []published{
		{Subject: "x", Version: "v1", Figure: "start", Value: "9 s", Conditions: "cold", Title: "T", URL: "https://example.test/", Beside: "cold-start"},
		{Subject: "y", Figure: "start", Value: "8 s", Conditions: "warm", Title: "T", URL: "https://example.test/", Beside: "warm-start"},
	}
	r := &results{Measures: map[string]*result{"cold-start": {measure: measure{Unit: inSeconds}, Samples: map[string][]float64{boxyard: {2, 3, 4}}}}}
	got := publishedSection(figures, r)
	for _, want := range []string{
		"| x v1 | start | 9 s | 3.00 s (cold-start) | cold | [T](https://example.test/) |\n",
		"| y | start | 8 s | not measured yet | warm | [T](https://example.test/) |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
}
