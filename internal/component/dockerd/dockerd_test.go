package dockerd

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/api/types/task"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/paths"
)

func options() Options {
	return Options{
		Layout:       paths.Default(),
		Payload:      "/var/lib/boxyard/payload/current",
		Bridge:       "boxyard1",
		CIDR:         netip.MustParsePrefix("10.44.0.1/16"),
		Pool:         netip.MustParsePrefix("10.45.0.0/16"),
		BuildCache:   BuildCache{ReservedBytes: 10e9, MaxBytes: 100e9, MinFreeBytes: 50e9},
		CgroupRoot:   "boxyard",
		CgroupDriver: "cgroupfs",
		GID:          998,
		Socket:       "auto",
		PublicLink:   PublicSocket,
	}
}

func TestConfigIsGolden(t *testing.T) {
	full := options()
	full.CgroupDriver = "systemd"
	full.DNS = []netip.Addr{netip.MustParseAddr("10.42.0.1")}
	full.PodMark = 0x100000
	full.CIDR6 = netip.MustParsePrefix("fd42:b0c5:44::1/64")
	full.Proxy = config.Proxy{HTTP: "http://proxy:3128", HTTPS: "http://proxy:3128", NoProxy: "localhost"}
	for file, o := range map[string]Options{"daemon.json": options(), "full.json": full} {
		var insecure []string
		if file == "full.json" {
			insecure = []string{"registry.lan:5000"}
		}
		got, err := daemonJSON(o, true, insecure)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", file, d)
		}
	}
}

func TestPrepareTurnsLiveRestoreOnAgain(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Layout = paths.Layout{Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run")}
	o.PublicLink = ""
	if err := os.MkdirAll(o.Layout.RunOf(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := New(o).configure(false); err != nil {
		t.Fatal(err)
	}
	if err := New(o).Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(configFile(o))
	if err != nil {
		t.Fatal(err)
	}
	var got daemonConfig
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if !got.LiveRestore {
		t.Error("live-restore is off")
	}
}

func TestCgroupParent(t *testing.T) {
	for _, c := range []struct{ root, driver, want string }{
		{"boxyard", "cgroupfs", "/boxyard/docker"},
		{"/boxyard", "cgroupfs", "/boxyard/docker"},
		{"boxyard", "systemd", "boxyard-docker.slice"},
	} {
		if got := cgroupParent(c.root, c.driver); got != c.want {
			t.Errorf("cgroupParent(%q, %q) = %q, want %q", c.root, c.driver, got, c.want)
		}
	}
}

func TestPublicLinkTouchesOnlyWhatIsOurs(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.Layout = paths.Layout{Run: filepath.Join(dir, "run")}
	o.PublicLink = filepath.Join(dir, "docker.sock")
	ours := o.Layout.DockerSocket()

	for range 2 { // a link that a crash left behind is ours again
		if err := makeLink(o); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(o.PublicLink); err != nil || got != ours {
			t.Fatalf("the link leads to %q, %v", got, err)
		}
	}
	if err := RemoveLink(o.PublicLink, ours); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(o.PublicLink); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the link is still there: %v", err)
	}

	if err := os.WriteFile(o.PublicLink, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(makeLink(o), RemoveLink(o.PublicLink, ours)); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(o.PublicLink); err != nil || string(data) != "another's" {
		t.Errorf("another's socket was touched: %q, %v", data, err)
	}
	if err := checkLink(o); err != nil {
		t.Errorf("auto insists on the path: %v", err)
	}
	o.Socket = "on"
	if err := checkLink(o); fault.Code(err) != "docker-socket-taken" {
		t.Errorf("on accepts another's socket: %v", err)
	}
}

func TestLinkOf(t *testing.T) {
	const index = "\x01\x00\x00\x00\x00\x00\x00\x00"
	for _, c := range []struct{ name, key, value, want string }{
		{"bridge", "docker/network/v1.0/bridge/4baf/", index + `{"ID":"4baf","BridgeName":"br-4baf"}`, "br-4baf"},
		{"vlan that dockerd made", "docker/network/v1.0/macvlan/4baf/", index + `{"Parent":"eth0.5","CreatedSubIface":true}`, "eth0.5"},
		{"interface of the host", "docker/network/v1.0/ipvlan/4baf/", index + `{"Parent":"eth0","CreatedSubIface":false}`, ""},
		{"endpoint", "docker/network/v1.0/bridge-endpoint/77/", index + `{"id":"77"}`, ""},
		{"another store", "else/bridge/4baf/", index + `{"BridgeName":"br0"}`, ""},
		{"empty", "docker/network/v1.0/bridge/4baf/", "", ""},
	} {
		got, err := linkOf(c.key, []byte(c.value))
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}

func TestExitEventHasTheCodeWhereItIsKnown(t *testing.T) {
	if e := exitEvent("c1", 42, nil); e.GetExitStatus() != lostExitCode || e.GetPid() != 42 || e.GetID() != "c1" {
		t.Errorf("without a task: %v", e)
	}
	stopped := &task.Process{ExitStatus: 3, ExitedAt: timestamppb.Now()}
	if e := exitEvent("c1", 42, stopped); e.GetExitStatus() != 3 || !e.GetExitedAt().AsTime().Equal(stopped.GetExitedAt().AsTime()) {
		t.Errorf("with a stopped task: %v", e)
	}
}

func TestHoldRulesIsGolden(t *testing.T) {
	listed, err := os.ReadFile("testdata/docker-bridges.nft")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/boxyard-docker.nft")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), holdRules(string(listed), "ip")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
