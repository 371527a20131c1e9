package spec

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadReasons(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte("# Two nodes.\na [x]\nb\n\n# No registry.\nc\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := ReadReasons(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a [x]": "Two nodes.", "b": "Two nodes.", "c": "No registry."}, got); diff != "" {
		t.Error(diff)
	}
}
