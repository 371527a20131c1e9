package host

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/paths"
)

// goodFacts is a machine on which nothing is in the way.
func goodFacts(t *testing.T) Facts {
	t.Helper()
	return Facts{
		Root: true, Overlayfs: true, IPv6: true, NFT: "/usr/sbin/nft", NFTVersion: "1.0.6", Kernel: "6.1.0-18-amd64",
		BridgeNetfilter: true,
		Routes: []Route{
			{Dst: netip.MustParsePrefix("0.0.0.0/0"), Dev: "eth0"},
			{Dst: netip.MustParsePrefix("192.168.1.0/24"), Dev: "eth0"},
			{Dst: netip.MustParsePrefix("127.0.0.0/8"), Dev: "lo"},
			{Dst: netip.MustParsePrefix("fe80::/64"), Dev: "eth0"},
		},
		proc: t.TempDir(),
	}
}

// layout is one whose data directory has room: the first start's need is not
// what these tests are about.
func layout(t *testing.T) paths.Layout {
	t.Helper()
	l := paths.Layout{Data: t.TempDir()}
	if err := os.WriteFile(l.StateFile(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return l
}

// process makes a process up that has the socket of an inode open.
func process(t *testing.T, proc string, pid int, name, inode string) {
	t.Helper()
	dir := filepath.Join(proc, fmt.Sprint(pid))
	if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "comm"), []byte(name+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("socket:["+inode+"]", filepath.Join(dir, "fd", "7")); err != nil {
		t.Fatal(err)
	}
}

func listener(network, address, inode string) Listener {
	return Listener{Network: network, Address: netip.MustParseAddrPort(address), inode: inode}
}

func TestPreflight(t *testing.T) {
	type want struct{ Code, Summary, Hint string }
	tests := map[string]struct {
		change func(*Facts, *config.Config)
		own    []int
		want   []want
	}{
		"nothing in the way": {change: func(*Facts, *config.Config) {}},
		"not root": {
			change: func(f *Facts, _ *config.Config) { f.Root, f.NFT = false, "" },
			want:   []want{{"not-root", "needs root", "sudo boxyard up"}},
		},
		"no nft": {
			change: func(f *Facts, _ *config.Config) { f.NFT = "" },
			want:   []want{{"no-nft", "nft is not installed", "apt-get install nftables"}},
		},
		"no names of protocols": {
			change: func(f *Facts, _ *config.Config) { f.NoProtocols = true },
			want:   []want{{"no-protocols", "/etc/protocols", "apt-get install netbase"}},
		},
		"an old nft": {
			change: func(f *Facts, _ *config.Config) { f.NFTVersion = "0.9.8" },
			want:   []want{{"nft-old", "0.9.8", "upgrade"}},
		},
		"no overlayfs": {
			change: func(f *Facts, _ *config.Config) { f.Overlayfs = false },
			want:   []want{{"no-overlayfs", "overlayfs", "modprobe overlay"}},
		},
		"an old kernel": {
			change: func(f *Facts, _ *config.Config) { f.Kernel = "5.10.0-28-amd64" },
			want:   []want{{"kernel-old", "5.10.0-28-amd64", "upgrade"}},
		},
		"no bridge netfilter": {
			change: func(f *Facts, _ *config.Config) { f.BridgeNetfilter = false },
			want:   []want{{"no-bridge-netfilter", "bridges", "modprobe br_netfilter"}},
		},
		"no IPv6 where it is wanted": {
			change: func(f *Facts, c *config.Config) { f.IPv6, c.Network.IPv6 = false, "on" },
			want:   []want{{"no-ipv6", "network.ipv6", "auto"}},
		},
		"all that is missing at once": {
			change: func(f *Facts, _ *config.Config) { f.NFT, f.Overlayfs = "", false },
			want:   []want{{"no-overlayfs", "", ""}, {"no-nft", "", ""}},
		},
		"the API's port": {
			change: func(f *Facts, _ *config.Config) {
				f.Listeners = []Listener{listener("tcp", "0.0.0.0:6443", "1"), listener("tcp", "[::]:6443", "2"), listener("tcp", "127.0.0.1:6444", "3")}
				process(t, f.proc, 812, "nginx", "1")
			},
			want: []want{{"port-in-use", "port 6443 is in use by nginx (pid 812)", "boxyard up --api-port 6445"}},
		},
		"another of the cluster's ports, on our address": {
			change: func(f *Facts, _ *config.Config) {
				f.Listeners = []Listener{listener("tcp", "10.42.0.1:10250", "1")}
				process(t, f.proc, 77, "kubelet", "1")
			},
			want: []want{{"port-in-use", "port 10250 is in use by kubelet (pid 77)", "--without cluster"}},
		},
		"nobody seen": {
			change: func(f *Facts, _ *config.Config) { f.Listeners = []Listener{listener("tcp", "127.0.0.1:2379", "1")} },
			want:   []want{{"port-in-use", "port 2379 is in use by another process", "stop another process"}},
		},
		"the DNS port by UDP": {
			change: func(f *Facts, _ *config.Config) { f.Listeners = []Listener{listener("udp", "0.0.0.0:10053", "1")} },
			want:   []want{{"port-in-use", "port 10053", ""}},
		},
		"the port on another address, another protocol, our own parts": {
			change: func(f *Facts, _ *config.Config) {
				f.Listeners = []Listener{
					listener("tcp", "192.168.1.7:6443", "1"), listener("udp", "0.0.0.0:6443", "2"),
					listener("tcp", "10.42.0.1:6443", "3"), listener("tcp", "127.0.0.1:2379", "3"),
				}
				process(t, f.proc, 50, "cluster", "3")
			},
			own: []int{50},
		},
		"ports without a cluster": {
			change: func(f *Facts, c *config.Config) {
				c.Without = []string{"cluster"}
				f.Listeners = []Listener{listener("tcp", "0.0.0.0:6443", "1")}
			},
		},
		"a network inside the pods' range": {
			change: func(f *Facts, _ *config.Config) {
				f.Routes = append(f.Routes, Route{Dst: netip.MustParsePrefix("10.42.7.0/24"), Dev: "tun0"})
			},
			want: []want{{"range-overlap", "network.podCIDR 10.42.0.0/16 overlaps a network of this host: 10.42.7.0/24 dev tun0", "10.47.0.0/16"}},
		},
		"a network around it, ours, and IPv6 that is off": {
			change: func(f *Facts, c *config.Config) {
				c.Network.IPv6 = "off"
				f.Routes = append(f.Routes,
					Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Dev: "tun0"},
					Route{Dst: netip.MustParsePrefix("10.42.0.0/22"), Dev: "boxyard0"},
					Route{Dst: netip.MustParsePrefix("10.42.0.0/16"), Blackhole: true},
					Route{Dst: netip.MustParsePrefix("10.43.0.0/16"), Dev: "lo"},
					Route{Dst: netip.MustParsePrefix("10.44.0.0/16"), Dev: "boxyard1"},
					Route{Dst: netip.MustParsePrefix("10.45.3.0/24"), Dev: "br-0123456789ab"},
					Route{Dst: netip.MustParsePrefix("fd42:b0c5:42::/64"), Dev: "eth0"},
				)
			},
		},
		"another engine with the same table": {
			change: func(f *Facts, _ *config.Config) {
				f.NFTTables, f.Engines = []string{"ip docker-bridges"}, []Process{{812, "dockerd"}}
			},
			want: []want{{"docker-nftables", "pid 812", "--without docker"}},
		},
		"our engine with that table, and another without": {
			change: func(f *Facts, _ *config.Config) {
				f.NFTTables, f.Engines = []string{"ip docker-bridges"}, []Process{{812, "dockerd"}, {900, "kubelet"}}
			},
			own: []int{812},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, c := goodFacts(t), config.Default()
			tt.change(&f, &c)
			got := Preflight(t.Context(), f, c, layout(t), tt.own...)
			if len(got) != len(tt.want) {
				t.Fatalf("want %d, got %v", len(tt.want), got)
			}
			for i, w := range tt.want {
				if got[i].Code != w.Code || !strings.Contains(got[i].Summary, w.Summary) || !strings.Contains(got[i].Hint, w.Hint) {
					t.Errorf("want %q, got %+v", w, *got[i])
				}
			}
		})
	}
}

func TestNotRootExits4(t *testing.T) {
	got := Preflight(context.Background(), Facts{}, config.Default(), paths.Default())
	if len(got) != 1 || fault.ExitCode(got[0]) != fault.ExitNeedsRoot {
		t.Errorf("got %v", got)
	}
}

func TestDisk(t *testing.T) {
	f := diskFault("/var/lib/boxyard", 300*mib, diskForCreation)
	if f.Code != "disk-low" || f.Summary != "300 MiB free in /var/lib/boxyard, where Boxyard needs 2 GiB" || !strings.Contains(f.Hint, "mount a larger disk at /var/lib/boxyard") {
		t.Errorf("got %+v", *f)
	}
	if got := bytes(gib * 5 / 4); got != "1.2 GiB" {
		t.Errorf("got %s", got)
	}
	if got := existingParent(filepath.Join(t.TempDir(), "a", "b")); !exists(got) {
		t.Errorf("%s is not there", got)
	}
	if got := fileSystemFault("/data", unix.NFS_SUPER_MAGIC); len(got) != 1 || got[0].Code != "data-filesystem" {
		t.Errorf("NFS: %v", got)
	}
	if got := fileSystemFault("/data", unix.EXT4_SUPER_MAGIC); got != nil {
		t.Errorf("ext4: %v", got)
	}
}

func TestOlderThan(t *testing.T) {
	for version, want := range map[string]bool{
		"5.12.19": true, "4.19": true, "5.13.0": false, "5.13": false, "6.1.0-18-amd64": false, "6": false, "": false, "weird": false,
	} {
		if got := olderThan(version, 5, 13); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func TestWarnings(t *testing.T) {
	f := goodFacts(t)
	f.Engines = []Process{{812, "dockerd"}, {813, "k3s-server"}, {814, "dockerd"}}
	f.Routes = append(f.Routes, Route{Dst: netip.MustParsePrefix("10.0.0.0/13"), Dev: "tun0"}, Route{Dst: netip.MustParsePrefix("10.40.0.0/14"), Dev: "tun0"})
	f.LegacyTables = []string{"nat", "filter"}
	want := []string{
		"another Docker engine runs on this machine (dockerd, pid 812); it keeps its socket, its networks and its images",
		"another Kubernetes runs on this machine (k3s-server, pid 813); it keeps its socket, its networks and its images",
		"network.podCIDR 10.42.0.0/16 hides a part of a network that this host reaches: 10.40.0.0/14 dev tun0",
		"network.serviceCIDR 10.43.0.0/16 hides a part of a network that this host reaches: 10.40.0.0/14 dev tun0",
		"rules of the old iptables (iptables-legacy) are in force; where they drop what is forwarded, accept boxyard0 and boxyard1 there",
	}
	if diff := cmp.Diff(want, Warnings(f, config.Default(), 814)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := Warnings(goodFacts(t), config.Default()); got != nil {
		t.Errorf("got %q", got)
	}
}
