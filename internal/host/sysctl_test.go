package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, elements ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func TestRecordAndRestoreSysctls(t *testing.T) {
	before := map[string]string{
		"net/ipv4/ip_forward":             "0\n",
		"net/ipv4/conf/all/forwarding":    "0\n",
		"net/ipv4/conf/eth0.7/forwarding": "1\n", // the user's own
		"net/ipv6/conf/eth0.7/accept_ra":  "1\n",
		"net/ipv6/conf/wlan0/accept_ra":   "1\n",
		"vm/overcommit_memory":            "0\n",
		"kernel/panic":                    "0\n",
		"vm/swappiness":                   "60\n", // nobody's business
	}
	root := writeTree(t, before)
	file := filepath.Join(t.TempDir(), "host", "sysctls.json")
	if err := recordSysctls(root, file); err != nil {
		t.Fatal(err)
	}
	for name := range before {
		if err := os.WriteFile(filepath.Join(root, name), []byte("2\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// A second start must not take what Boxyard set for what was there.
	if err := recordSysctls(root, file); err != nil {
		t.Fatal(err)
	}
	// An interface that was pulled out.
	if err := os.RemoveAll(filepath.Join(root, "net/ipv6/conf/wlan0")); err != nil {
		t.Fatal(err)
	}
	if err := restoreSysctls(root, file); err != nil {
		t.Fatal(err)
	}
	delete(before, "net/ipv6/conf/wlan0/accept_ra")
	before["vm/swappiness"] = "2"
	for name, want := range before {
		if got := read(t, root, name); got != strings.TrimSpace(want) {
			t.Errorf("%s is %s", name, got)
		}
	}
	if exists(filepath.Join(root, "net/ipv6/conf/wlan0/accept_ra")) {
		t.Error("made a file for an interface that is gone")
	}
}

func TestRestoreSysctlsRefuses(t *testing.T) {
	dir := writeTree(t, map[string]string{"torn": "[{", "outside": `[{"path":"../../etc/passwd","value":"x"}]`})
	if err := restoreSysctls(t.TempDir(), filepath.Join(dir, "none")); err != nil {
		t.Errorf("without a record: %v", err)
	}
	for _, name := range []string{"torn", "outside"} {
		if err := restoreSysctls(t.TempDir(), filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
