//go:build integration

package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
	"golang.org/x/sys/unix"
)

// TestRefused: what `up` cannot work with gives one clear error, and nothing half-made.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		opts   harness.Options
		script string // run inside before `up`
		code   int
		words  []string
		blind  bool // the host lacks what a snapshot of it is taken with
	}{
		{name: "unknown key", opts: harness.Options{Config: "apiport: 6444\n"}, code: 2, words: []string{"config.yaml", "apiport"}},
		{name: "ill-typed key", opts: harness.Options{Config: "apiPort: many\n"}, code: 2, words: []string{"config.yaml", "apiPort"}},
		{name: "value out of range", opts: harness.Options{Config: "apiPort: 99999\n"}, code: 2, words: []string{"apiPort", "99999"}},
		{name: "corrupt config", opts: harness.Options{Config: "network: [[[\n"}, code: 2, words: []string{"/etc/boxyard/config.yaml"}},
		{
			name: "range set by the user overlaps a route", opts: harness.Options{Config: "network:\n  podCIDR: 10.77.0.0/16\n"},
			script: "ip link add office type bridge; ip link set office up; ip addr add 10.77.3.1/24 dev office",
			code:   1, words: []string{"10.77.0.0/16", "10.77.3.0/24", "office"},
		},
		{
			name: "data of a newer version", script: `mkdir -p /var/lib/boxyard; echo '{"version": 9999, "nodeName": "x"}' > /var/lib/boxyard/state.json`,
			code: 1, words: []string{"newer"},
		},
		{
			name: "ephemeral, with data to keep", opts: harness.Options{Config: "ephemeral: true\n"},
			script: `mkdir -p /var/lib/boxyard; echo '{"version": 1, "nodeName": "x", "podCIDRs": ["10.42.0.0/16"], "serviceCIDRs": ["10.43.0.0/16"], "dockerCIDR": "10.44.0.0/16", "dockerPool": "10.45.0.0/16"}' > /var/lib/boxyard/state.json`,
			code:   2, words: []string{"ephemeral", "boxyard reset"},
		},
		{name: "little disk", opts: harness.Options{DataMB: 64}, code: 1, words: []string{"/var/lib/boxyard", "MiB"}},
		{name: "no nft", opts: harness.Options{Setup: hideNFT}, code: 1, words: []string{"nft", "nftables"}, blind: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBox(t, test.opts)
			if test.script != "" {
				b.sh(test.script)
			}
			if test.blind {
				b.upFails(test.code, test.words...)
				return
			}
			before, err := b.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b.upFails(test.code, test.words...)
			after, err := b.Snapshot(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, aspect := range []string{"links", "addrs", "routes", "rules", "nft", "cgroups", "sysctls", "mounts", "accounts"} {
				if before[aspect] != after[aspect] {
					t.Errorf("the refused `up` left %s:\n%s\nbefore:\n%s", aspect, after[aspect], before[aspect])
				}
			}
		})
	}
}

func hideNFT() error {
	for _, path := range []string{"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"} {
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := unix.Mount("/dev/null", path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// TestPortInUse says whose port it is; this test is the culprit.
func TestPortInUse(t *testing.T) {
	b := newBox(t, harness.Options{})
	listener := b.listen("tcp", "127.0.0.1:6443")
	b.upFails(1, "6443", fmt.Sprint(os.Getpid()), "integration", "--api-port")
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

// listen takes a port or a socket inside the instance until the test ends.
func (b box) listen(network, addr string) net.Listener {
	b.t.Helper()
	var listener net.Listener
	err := b.Inside(func() error {
		var err error
		listener, err = new(net.ListenConfig).Listen(b.t.Context(), network, addr)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func TestNotRoot(t *testing.T) {
	b := newBox(t, harness.Options{})
	// nobody may not look into everybody's build directory.
	exe := "/usr/local/bin/boxyard"
	b.sh("install -m 0755 " + b.Binary + " " + exe)
	for _, command := range [][]string{{"up"}, {"down"}, {"reset", "--yes"}} {
		result, err := b.Exec(t.Context(), harness.Command{
			Name: "setpriv", Args: append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", exe}, command...),
		})
		if err != nil {
			t.Fatal(err)
		}
		b.refused(result, 4, "root", "sudo")
	}
	result, err := b.Exec(t.Context(), harness.Command{Name: exe, Args: []string{"nonsense"}})
	if err != nil {
		t.Fatal(err)
	}
	b.refused(result, 2, "nonsense")
}

// TestTornBinary: a payload that is cut short or altered is refused before any of it runs.
func TestTornBinary(t *testing.T) {
	if os.Getenv("BOXYARD_PAYLOAD_DIR") != "" {
		t.Fatal("needs the packed binary; try: make build, and unset BOXYARD_PAYLOAD_DIR")
	}
	for name, damage := range map[string]string{
		"cut":     "truncate -s -1000000 $F",
		"altered": "printf damaged | dd of=$F bs=1 seek=$(($(stat -c %s $F) - 20000000)) conv=notrunc status=none",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, harness.Options{NoPayload: true})
			exe := filepath.Join(t.TempDir(), "boxyard")
			b.sh("F=" + exe + "; cp " + b.Binary + " $F; " + damage)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			result, err := b.Exec(ctx, harness.Command{Name: exe, Args: []string{"up"}})
			if err != nil {
				t.Fatal(err)
			}
			b.refused(result, 1, "payload")
			if left, err := filepath.Glob(b.DataPath("payload", "*", "engine")); err != nil || len(left) > 0 {
				t.Errorf("files of a damaged payload are left: %v, %v", left, err)
			}
		})
	}
}

// TestTwoUpsAtOnce end in one platform, and both users are told so.
func TestTwoUpsAtOnce(t *testing.T) {
	b := newBox(t, harness.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	results, errs := make([]harness.Result, 2), make([]error, 2)
	var both sync.WaitGroup
	for i := range results {
		both.Go(func() { results[i], errs[i] = b.Up(ctx) })
	}
	both.Wait()
	for i, result := range results {
		if errs[i] != nil || result.Code != 0 {
			t.Errorf("up %d: %v, exit code %d\n%s", i+1, errs[i], result.Code, result.Output())
		}
	}
	for _, part := range []string{"boxyard", "containerd", "dockerd", "cluster", "dns"} {
		if running, err := b.Part(part); err != nil || len(running) != 1 {
			t.Errorf("%s: %v, %v", part, running, err)
		}
	}
	b.ready(5*time.Second, "after both")
}

// TestUncomfortableHost: another Docker and a network of the office in the default ranges, a
// firewall that drops, somebody on port 53, no usable resolv.conf, a proxy that does not answer.
// It all works, and the others' things are left alone.
func TestUncomfortableHost(t *testing.T) {
	b := newBox(t, harness.Options{Env: []string{"HTTP_PROXY=http://192.0.2.1:3128", "HTTPS_PROXY=http://192.0.2.1:3128", "NO_PROXY=localhost"}})
	b.sh(`set -e
ip link add docker0 type bridge; ip addr add 172.17.0.1/16 dev docker0; ip link set docker0 up
ip link add cni0 type bridge; ip addr add 10.244.0.1/24 dev cni0; ip link set cni0 up
ip link add office type bridge; ip addr add 10.42.7.1/24 dev office; ip link set office up
nft add table ip filter
nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'
nft 'add chain ip filter INPUT { type filter hook input priority 0; policy drop; }'
nft add rule ip filter INPUT iif lo accept
nft add rule ip filter INPUT ct state established,related accept
: > /etc/resolv.conf`)
	const look = "nft list table ip filter; ip -4 -brief addr show docker0; ip -4 -brief addr show cni0; ip -4 -brief addr show office"
	theirs := b.sh(look)
	_ = b.listen("unix", "/run/docker.sock")
	_ = b.listen("tcp", "0.0.0.0:53")

	out := b.up()
	if !strings.Contains(out, "10.42.0.0/16") || !strings.Contains(out, "office") {
		t.Errorf("up does not say that the range 10.42.0.0/16 is taken by office:\n%s", out)
	}
	b.build("served:1", server("one"))
	b.deploy("served", "served:1", 2)
	b.serves("served", "one")
	b.docker("run", "--detach", "--name", "published", "--publish", "8081:8080", "served:1")
	b.answers("http://127.0.0.1:8081/", "one")
	b.kubectl("run", "asker", "--image=boxyard/base", "--restart=Never", "--command", "--", "sleep", "3600")
	b.kubectl("wait", "pod/asker", "--for=condition=Ready", "--timeout=60s")
	if got := b.kubectl("exec", "asker", "--", "wget", "-qO-", "http://served.default.svc.cluster.local/"); !strings.Contains(got, "one") {
		t.Errorf("pod to Service by name: %q", got)
	}
	// While it is up, a firewall that drops has passes for our bridges, marked as ours.
	if got := b.sh("(" + look + `) | grep -v 'comment "boxyard '`); got != theirs {
		t.Errorf("others' things were changed:\n%s\nbefore:\n%s", got, theirs)
	}
	t.Run("resolv.conf changes", func(t *testing.T) { changingResolvConf(box{Instance: b.Instance, t: t}) })
	b.boxyard("down")
	if got := b.sh(look); got != theirs {
		t.Errorf("after down others' things were changed:\n%s\nbefore:\n%s", got, theirs)
	}
	b.sh("test -S /run/docker.sock")
}

// changingResolvConf: the machine gets a name server, and pods resolve outside names by it.
func changingResolvConf(b box) {
	conn := b.nameServer("127.0.0.2:53", [4]byte{192, 0, 2, 77})
	defer func() { _ = conn.Close() }()
	b.sh("echo nameserver 127.0.0.2 > /etc/resolv.conf")
	b.eventually(30*time.Second, "a pod resolves an outside name", func() error {
		out, err := b.Kubectl(b.t.Context(), "exec", "asker", "--", "nslookup", "outside.example.")
		if err == nil && !strings.Contains(out, "192.0.2.77") {
			err = fmt.Errorf("got %s", out)
		}
		return err
	})
}
