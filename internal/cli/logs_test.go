package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (w *world) log(t *testing.T, part, text string) {
	t.Helper()
	if err := os.MkdirAll(w.Layout.Log, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.Layout.LogFile(part), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLogsOfOnePart(t *testing.T) {
	for _, tt := range []struct{ text, n, want string }{
		{"1\n2\n3\n", "2", "2\n3\n"},
		{"1\n2\n3", "2", "2\n3\n"},
		{"1\n", "5", "1\n"},
		{"", "5", ""},
		{"1\n2\n", "0", ""},
		{"\n\n\n", "2", "\n\n"},
	} {
		w := newWorld(t)
		w.log(t, "dns", tt.text)
		if code := w.main("logs", "dns", "-n", tt.n); code != 0 {
			t.Fatalf("exit code %d: %s", code, w.err.String())
		}
		if d := cmp.Diff(tt.want, w.out.String()); d != "" {
			t.Errorf("%q -n %s: %s", tt.text, tt.n, d)
		}
	}
}

func TestLogsAcrossBlocks(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("x", 100<<10)
	w.log(t, "dns", "first\n"+long+"\nlast\n")
	if code := w.main("logs", "dns", "-n", "2"); code != 0 {
		t.Fatal(w.err.String())
	}
	if w.out.String() != long+"\nlast\n" {
		t.Errorf("got %d bytes", w.out.Len())
	}
}

func TestLogsOfAllParts(t *testing.T) {
	w := newWorld(t)
	w.log(t, "dns", "a\n")
	w.log(t, "cluster", "b\n")
	if code := w.main("logs"); code != 0 {
		t.Fatal(w.err.String())
	}
	if d := cmp.Diff("cluster     | b\ndns         | a\n", w.out.String()); d != "" {
		t.Error(d)
	}
	w.err.Reset()
	if code := w.main("logs", "dnss"); code != 2 || !strings.Contains(w.err.String(), "cluster, dns") {
		t.Errorf("exit code %d: %s", code, w.err.String())
	}
}

func TestFollowSeesRotation(t *testing.T) {
	w := newWorld(t)
	w.log(t, "dns", "old line\n")
	var out bytes.Buffer
	tail := &tail{path: w.Layout.LogFile("dns"), out: &out}
	defer tail.close()
	if err := tail.last(10); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"old line\nnew", "old line\nnewer\n", "x\n"} {
		w.log(t, "dns", text) // the last is shorter: copied away and truncated
		if err := tail.more(); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff("old line\nnewer\nx\n", out.String()); d != "" {
		t.Error(d)
	}
}
