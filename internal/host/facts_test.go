package host

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

func TestReadProc(t *testing.T) {
	f := Facts{proc: writeTree(t, map[string]string{
		"filesystems":                            "nodev\toverlay\n\text4\n",
		"sys/net/ipv6/conf/all/disable_ipv6":     "0\n",
		"sys/net/bridge/bridge-nf-call-iptables": "1\n",
		"self/status":                            "Name:\tx\nCapEff:\t000001ffffffffff\n",
		"meminfo":                                "MemTotal:        4030464 kB\n",
		"net/ip_tables_names":                    "nat\nfilter\n",
	})}
	f.readProc()
	want := Facts{
		Overlayfs: true, IPv6: true, BridgeNetfilter: true, CapResource: true,
		MemoryBytes: 4030464 << 10, LegacyTables: []string{"nat", "filter"},
	}
	if diff := cmp.Diff(want, f, cmpopts.IgnoreUnexported(Facts{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	bare := Facts{proc: writeTree(t, map[string]string{"filesystems": "nodev\toverlayfs2\n", "self/status": "CapEff:\t000001fffeffffff\n"})}
	bare.readProc()
	if diff := cmp.Diff(Facts{}, bare, cmpopts.IgnoreUnexported(Facts{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCgroupDriver(t *testing.T) {
	if cgroupDriver(true) != "systemd" || cgroupDriver(false) != "cgroupfs" {
		t.Error("wrong driver")
	}
}

func TestNFTVersion(t *testing.T) {
	for output, want := range map[string]string{"nftables v1.0.6 (Lester Gooch #5)\n": "1.0.6", "nftables v1.1.0 (Commodore Bullmoose)\n": "1.1.0", "": ""} {
		if got := nftVersion(output); got != want {
			t.Errorf("%q: %q", output, got)
		}
	}
}

func TestListeners(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	proc := writeTree(t, map[string]string{
		"net/tcp": head +
			"   0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n" +
			"   1: 00000000:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0 0 10 0\n" +
			"   2: 0100007F:9999 0100007F:192B 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n",
		"net/tcp6": head +
			"   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0 100 0 0 10 0\n" +
			"   1: C5B042FD000042000000000001000000:192B 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4715 1 0 100 0 0 10 0\n",
		"net/udp": head + "  10: 00000000:2745 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4716 2 0 0\n",
	})
	got, err := listeners(proc)
	if err != nil {
		t.Fatal(err)
	}
	want := []Listener{
		listener("tcp", "127.0.0.1:6443", "4711"),
		listener("tcp", "0.0.0.0:10250", "4712"),
		listener("tcp", "[::]:80", "4714"),
		listener("tcp", "[fd42:b0c5:42::1]:6443", "4715"),
		listener("udp", "0.0.0.0:10053", "4716"),
	}
	same := cmp.Options{cmp.AllowUnexported(Listener{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })}
	if diff := cmp.Diff(want, got, same); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEngines(t *testing.T) {
	proc := writeTree(t, map[string]string{"812/comm": "dockerd\n", "813/comm": "bash\n", "900/comm": "kubelet\n", "self/x": "", "version": ""})
	for dir, ns := range map[string]string{"self": "net:[1]", "812": "net:[1]", "900": "net:[2]"} {
		if err := os.MkdirAll(filepath.Join(proc, dir, "ns"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(ns, filepath.Join(proc, dir, "ns/net")); err != nil {
			t.Fatal(err)
		}
	}
	// The kubelet is in a network namespace of its own: a node in a container.
	if diff := cmp.Diff([]Process{{812, "dockerd"}}, engines(proc)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The facts of the machine that runs the test: only what every machine has.
func TestLook(t *testing.T) {
	f, err := look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Kernel == "" || f.Hostname == "" || f.CPUs < 1 || f.MemoryBytes < 1<<20 || f.CgroupDriver == "" || len(f.Routes) == 0 {
		t.Errorf("got %+v", f)
	}
}
