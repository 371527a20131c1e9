package containerd

import (
	"os"
	"path/filepath"
	"testing"
)

func TestClearIngests(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ingest")
	if err := clearIngests(dir); err != nil {
		t.Errorf("without anything: %v", err)
	}
	for _, path := range []string{"whole", "empty", "half"} {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"whole/ref", "whole/data", "half/data"} {
		if err := os.WriteFile(filepath.Join(dir, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := clearIngests(dir); err != nil {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*/*"))
	if err != nil || len(left) != 2 {
		t.Errorf("left: %q, %v", left, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("directories left: %v, %v", entries, err)
	}
}
