package network

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func writeTree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestSetSysctls(t *testing.T) {
	proc := writeTree(t, map[string]string{"a": "0\n", "b": "1\n"})
	changed, err := setSysctls(proc, []sysctl{{path: "a", value: "1"}, {path: "b", value: "1"}, {path: "none", value: "1", optional: true}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, changed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, _ := os.ReadFile(filepath.Join(proc, "a")); strings.TrimSpace(string(got)) != "1" {
		t.Errorf("a is %q", got)
	}
	if _, err := setSysctls(proc, []sysctl{{path: "none", value: "1"}}); err == nil {
		t.Error("a missing one that is not optional was accepted")
	}
}

func TestAdvertised(t *testing.T) {
	conf := func(name, value string) (string, string) { return "net/ipv6/conf/" + name + "/accept_ra", value + "\n" }
	files := map[string]string{}
	for name, value := range map[string]string{
		"all": "1", "default": "1", "lo": "1", "boxyard0": "1", // never
		"eth0":    "1", // a device
		"br0":     "1", // no device, but the way out
		"docker0": "1", // neither
		"wlan0":   "0", // its user space looks after advertisements
		"eth1":    "2", // is set already
	} {
		k, v := conf(name, value)
		files[k] = v
	}
	proc := writeTree(t, files)
	sys := writeTree(t, map[string]string{"class/net/eth0/device/x": "", "class/net/wlan0/device/x": "", "class/net/eth1/device/x": ""})
	var got []string
	for _, s := range advertised(proc, sys, []string{"br0"}, []string{"boxyard0"}) {
		got = append(got, s.path+"="+s.value)
	}
	if diff := cmp.Diff([]string{"net/ipv6/conf/br0/accept_ra=2", "net/ipv6/conf/eth0/accept_ra=2"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if none := advertised(t.TempDir(), sys, nil, nil); none != nil {
		t.Errorf("without IPv6: %v", none)
	}
}
