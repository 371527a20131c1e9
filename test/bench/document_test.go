package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// chapter is the part of docs/performance.md that is written by hand.
const chapter = "docs/performance/where-the-time-goes.md"

const publishedFile = "bench/published.json"

// The page is what the results and the chapter make: a change of one without the other, or by hand, would be lost.
func TestDocumentIsWhatResultsAndChapterMake(t *testing.T) {
	top := filepath.Join("..", "..")
	r, err := readResults(filepath.Join(top, "bench", "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(top, chapter))
	if err != nil {
		t.Fatal(err)
	}
	repo := t.TempDir()
	writeChapter(t, repo, string(text))
	figures, err := os.ReadFile(filepath.Join(top, publishedFile))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(repo, publishedFile), string(figures))
	if err := writeDocument(repo, r); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(top, "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), document(t, repo)); diff != "" {
		t.Errorf("docs/performance.md is not what would be written (-there +written):\n%s", diff)
	}
}

func TestChapterSurvivesTheNextRun(t *testing.T) {
	repo := t.TempDir()
	const (
		text = "## Where the time goes\n\nElsewhere, as [ADR 1](../adr/0001.md) says.\n"
		page = "## Where the time goes\n\nElsewhere, as [ADR 1](adr/0001.md) says.\n"
	)
	writeChapter(t, repo, text)
	writeFile(t, filepath.Join(repo, publishedFile), "[]")
	for range 2 {
		if err := writeDocument(repo, &results{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := document(t, repo); !strings.HasSuffix(got, "\n\n"+page) || strings.Count(got, page) != 1 {
		t.Errorf("the chapter is not there once, at the end:\n%s", got)
	}
}

func TestDocumentIsNotWrittenWithoutTheChapter(t *testing.T) {
	repo := t.TempDir()
	if err := os.MkdirAll(filepath.Join(repo, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(repo, publishedFile), "[]")
	if err := writeDocument(repo, &results{}); err == nil {
		t.Errorf("written without its chapter:\n%s", document(t, repo))
	}
}

func writeChapter(t *testing.T, repo, text string) {
	t.Helper()
	writeFile(t, filepath.Join(repo, chapter), text)
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func document(t *testing.T, repo string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repo, "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
