package systemd

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestUnitIsGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/boxyard.service")
	if err != nil {
		t.Fatal(err)
	}
	got := Unit("/usr/local/bin/boxyard", []string{"HTTPS_PROXY=http://user:a%20b@proxy:3128", "NO_PROXY=a b"})
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
}

func TestTransientServiceHasTheUnitsProperties(t *testing.T) {
	args := runArguments([]string{"/b", "daemon", "--x"}, []string{"A=1"})
	unit := Unit("/b", nil)
	n := 0
	for _, a := range args {
		if p, ok := strings.CutPrefix(a, "--property="); ok {
			n++
			if !strings.Contains(unit, "\n"+p+"\n") {
				t.Errorf("%s is not in the unit", p)
			}
		}
	}
	if n == 0 {
		t.Error("no properties")
	}
	if tail := args[len(args)-5:]; cmp.Diff([]string{"--setenv=A=1", "--", "/b", "daemon", "--x"}, tail) != "" {
		t.Errorf("the command is %q", tail)
	}
}
