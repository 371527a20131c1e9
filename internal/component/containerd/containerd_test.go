package containerd

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/paths"
)

func options() Options {
	return Options{
		Layout:       paths.Default(),
		Payload:      "/var/lib/boxyard/payload/current",
		PauseImage:   "docker.io/boxyard/pause:0.1.0",
		Registries:   "/run/boxyard/registries",
		Bridge:       "boxyard0",
		PodCIDRs:     []netip.Prefix{netip.MustParsePrefix("10.42.0.0/22"), netip.MustParsePrefix("fd42:b0c5:42::/64")},
		CgroupDriver: "cgroupfs",
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

func TestConfigIsGolden(t *testing.T) {
	systemd := options()
	systemd.CgroupDriver = "systemd"
	systemd.CapResource = true
	for file, o := range map[string]Options{"cgroupfs.toml": options(), "systemd.toml": systemd} {
		got, err := configTOML(o)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, file, got)
	}
}

func TestNetworkIsGolden(t *testing.T) {
	single := options()
	single.PodCIDRs = single.PodCIDRs[:1]
	plain := options()
	plain.PlainCNI = true
	for file, o := range map[string]Options{"dual.conflist": options(), "single.conflist": single, "plain.conflist": plain} {
		got, err := cniList(o)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, file, got)
	}
}

func TestPrepareWritesOnceAndWhereContainerdLooks(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Layout = paths.Layout{Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run")}
	c := New(o)
	if err := c.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := []string{
		"containerd/config.toml", "containerd/cni/10-boxyard.conflist",
	}
	var before []os.FileInfo
	for _, f := range files {
		info, err := os.Stat(filepath.Join(o.Layout.Run, f))
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, info)
	}
	if err := c.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		after, err := os.Stat(filepath.Join(o.Layout.Run, f))
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(before[i], after) {
			t.Errorf("%s was written again though nothing changed", f)
		}
	}
}

func TestManyShimsAreUpstreams(t *testing.T) {
	o := options()
	o.ManyShims = true
	conf, err := configTOML(o)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(conf), "[timeouts]") {
		t.Errorf("a timeout for the one shim is set without it:\n%s", conf)
	}
	for _, v := range environment(o) {
		if strings.Contains(v, "SHIM") {
			t.Errorf("%s is set", v)
		}
	}
}

func TestEnvironmentHasProxiesThatAreSet(t *testing.T) {
	o := options()
	o.Proxy = config.Proxy{HTTP: "http://proxy:3128", NoProxy: "localhost"}
	want := []string{
		"PATH=/var/lib/boxyard/payload/current:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/var/lib/boxyard/containerd",
		"BOXYARD_SHARED_SHIM_LOG=/var/log/boxyard/containerd.log",
		"BOXYARD_SHIM_FILTERS=/run/boxyard/containerd/filters",
		"HTTP_PROXY=http://proxy:3128",
		"NO_PROXY=localhost",
	}
	if d := cmp.Diff(want, environment(o)); d != "" {
		t.Error(d)
	}
}

// containerd refuses a longer one (core/runtime/v2/socket_linux.go, maxSocketDirLen).
func TestShimSocketsFit(t *testing.T) {
	if dir := shimSockets(options()); len(dir) > 42 {
		t.Errorf("%s has %d characters", dir, len(dir))
	}
}
