package suite

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestResults(t *testing.T) {
	file, err := os.Open("testdata/test2json.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	got, err := Results("image/", file)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for name, r := range got {
		states[name] = string(r.State) + " " + r.Message
	}
	want := map[string]string{
		"image/TestPasses": "passed ", "image/TestSkips": "skipped a_test.go:3: no such kernel", "image/TestFails": "failed a_test.go:9: assertion failed: 1 != 2",
	}
	if d := cmp.Diff(want, states); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
