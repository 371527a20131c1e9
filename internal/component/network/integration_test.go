//go:build integration

package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// space is a network namespace with a mount namespace that shows its /sys.
type space struct{ net, mnt *os.File }

// newSpace makes one. It needs root; without it the test fails.
func newSpace(t *testing.T) space {
	t.Helper()
	made := make(chan error)
	var s space
	go func() {
		// Never unlocked: the thread ends with the goroutine and takes nothing along.
		runtime.LockOSThread()
		made <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
				return fmt.Errorf("new namespaces (this test needs root): %w", err)
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
				return err
			}
			var err error
			if s.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
				return err
			}
			s.mnt, err = os.Open("/proc/thread-self/ns/mnt")
			return err
		}()
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.net.Close(); _ = s.mnt.Close() })
	s.do(t, func() error { return setUp("lo") })
	return s
}

// do runs f in the namespace and waits for it.
func (s space) do(t *testing.T, f func() error) {
	t.Helper()
	if err := <-s.start(f); err != nil {
		t.Fatal(err)
	}
}

func (s space) start(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Setns(int(s.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Setns(int(s.net.Fd()), unix.CLONE_NEWNET); err != nil {
				return err
			}
			return f()
		}()
	}()
	return done
}

func (s space) command(t *testing.T, line ...string) string {
	t.Helper()
	var out []byte
	s.do(t, func() error {
		var err error
		out, err = exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%v: %w: %s", line, err, out)
		}
		return nil
	})
	return string(out)
}

func (s space) nft(t *testing.T, script string) {
	t.Helper()
	s.do(t, func() error { return nft{"nft"}.apply(t.Context(), script) })
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// run starts a component in the namespace; the returned function stops it.
func (s space) run(t *testing.T, c *Component) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	began := time.Now()
	ended := s.start(func() error { return c.Run(ctx, func() { close(ready) }) })
	select {
	case <-ready:
		t.Logf("ready after %v", time.Since(began))
	case err := <-ended:
		cancel()
		t.Fatalf("ended before it was ready: %v", err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func newComponent(t *testing.T, o Options) *Component {
	t.Helper()
	c, err := New(o, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// eventually polls until f is nil; the component repairs on events.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s space) eventuallyHas(t *testing.T, want string, line ...string) {
	t.Helper()
	eventually(t, func() error {
		return <-s.start(func() error {
			out, err := exec.CommandContext(t.Context(), line[0], line[1:]...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), want) {
				return fmt.Errorf("%v lacks %q: %v\n%s", line, want, err, out)
			}
			return nil
		})
	})
}

func (s space) snapshot(t *testing.T) string {
	t.Helper()
	return s.command(t, "sh", "-c", "ip -o link | cut -d: -f2-; ip addr show up | grep inet; ip route show table all; ip -6 route show table all; ip rule; nft list ruleset")
}

func TestEverythingIsMadeAndRemoved(t *testing.T) {
	host := newSpace(t)
	host.nft(t, "table ip filter {\n chain FORWARD {\n type filter hook forward priority 0; policy drop;\n }\n}\n")
	before := host.snapshot(t)

	c := newComponent(t, dualOptions())
	stop := host.run(t, c)
	for _, want := range []string{
		"10.42.0.1/22", "fd42:b0c5:42::1/64", "10.44.0.1/16",
		"blackhole 10.42.0.0/16", "10.43.0.0/16 dev lo", "blackhole fd42:b0c5:42::/48", "fd42:b0c5:43::/112 dev lo",
		"10.46.0.0/24 dev lo", "fd42:b0c5:46::/112 dev lo",
		"table inet boxyard", `comment "boxyard from boxyard0"`,
	} {
		if got := host.snapshot(t); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	for path, want := range map[string]string{"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/boxyard0/accept_ra": "0"} {
		if got := strings.TrimSpace(host.command(t, "cat", "/proc/sys/"+path)); got != want {
			t.Errorf("%s is %s", path, got)
		}
	}

	made := host.snapshot(t)
	stop()
	if diff := cmp.Diff(made, host.snapshot(t)); diff != "" {
		t.Errorf("stopping changed something:\n%s", diff)
	}
	again := newComponent(t, dualOptions())
	host.run(t, again)()
	if diff := cmp.Diff(made, host.snapshot(t)); diff != "" {
		t.Errorf("a second start changed something:\n%s", diff)
	}
	fresh := newComponent(t, dualOptions())
	for range 2 {
		host.do(t, func() error { return fresh.Remove(t.Context()) })
		if diff := cmp.Diff(before, host.snapshot(t)); diff != "" {
			t.Errorf("left after removal:\n%s", diff)
		}
	}
}

func TestWhatDisappearsComesBack(t *testing.T) {
	host := newSpace(t)
	c := newComponent(t, dualOptions())
	host.run(t, c)

	host.command(t, "ip", "addr", "del", "10.42.0.1/22", "dev", "boxyard0")
	host.eventuallyHas(t, "10.42.0.1/22", "ip", "addr")
	host.eventuallyHas(t, "10.43.0.0/16 dev lo", "ip", "route")
	host.command(t, "ip", "-6", "addr", "flush", "dev", "boxyard0")
	host.eventuallyHas(t, "fd42:b0c5:42::1/64", "ip", "addr")
	host.eventuallyHas(t, "fd42:b0c5:43::/112", "ip", "-6", "route")
	host.command(t, "ip", "route", "del", "blackhole", "10.42.0.0/16")
	host.eventuallyHas(t, "blackhole 10.42.0.0/16", "ip", "route")
	host.command(t, "ip", "link", "set", "boxyard0", "down")
	host.eventuallyHas(t, "boxyard0", "ip", "-o", "link", "show", "up")
	host.eventuallyHas(t, "fd42:b0c5:42::1/64", "ip", "addr")

	host.nft(t, "delete table inet boxyard")
	host.eventuallyHas(t, "masquerade", "nft", "list", "ruleset")
	host.nft(t, "flush chain inet boxyard postrouting")
	host.eventuallyHas(t, "masquerade", "nft", "list", "ruleset")
	host.nft(t, "flush ruleset")
	host.eventuallyHas(t, "masquerade", "nft", "list", "ruleset")

	firewall := "table inet firewalld {\n chain f {\n type filter hook forward priority 10; policy accept;\n ct state established accept\n reject\n }\n}\n"
	host.nft(t, firewall)
	host.eventuallyHas(t, `comment "boxyard to boxyard0"`, "nft", "list", "ruleset")
	host.nft(t, "delete table inet firewalld\n"+firewall)
	host.eventuallyHas(t, `comment "boxyard to boxyard0"`, "nft", "list", "ruleset")

	// No event tells of a sysctl: the health check looks.
	host.command(t, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
	host.do(t, func() error { return c.CheckHealth(t.Context()) })
	host.eventuallyHas(t, "1", "cat", "/proc/sys/net/ipv4/ip_forward")
}

// TestOpen opens other ranges than at the start. What is open stays so when the table is made again.
func TestOpen(t *testing.T) {
	host := newSpace(t)
	c := newComponent(t, dualOptions())
	host.run(t, c)
	open := func(ranges ...string) {
		host.do(t, func() error { return c.Open(t.Context(), prefixes(ranges...)) })
	}
	list := func() string { return host.command(t, "nft", "list", "table", "inet", "boxyard") }

	open("10.45.7.0/24", "10.42.9.0/24") // the second is the pods'
	if got := list(); !strings.Contains(got, "10.45.7.0/24") || strings.Contains(got, "10.42.9.0/24") || strings.Contains(got, "10.45.1.0/24") {
		t.Errorf("open:\n%s", got)
	}
	host.nft(t, "delete table inet boxyard")
	host.eventuallyHas(t, "10.45.7.0/24", "nft", "list", "ruleset")
	open()
	if got := list(); strings.Contains(got, "10.45.") {
		t.Errorf("closed:\n%s", got)
	}
	host.do(t, func() error { return c.CheckHealth(t.Context()) })
}

func TestPortsOfADeletedBridgeComeBack(t *testing.T) {
	host, pod := newSpace(t), newSpace(t)
	c := newComponent(t, ipv4Options())
	host.run(t, c)
	host.join(t, pod, "veth0", "", "10.42.0.9/22")
	host.command(t, "ip", "link", "set", "veth0", "master", "boxyard0")
	host.command(t, "bridge", "link", "set", "dev", "veth0", "hairpin", "on")
	host.do(t, func() error { return c.CheckHealth(t.Context()) })

	host.command(t, "ip", "link", "del", "boxyard0")
	host.eventuallyHas(t, "master boxyard0", "ip", "link", "show", "veth0")
	host.eventuallyHas(t, "1", "cat", "/sys/class/net/veth0/brport/hairpin_mode")
	host.eventuallyHas(t, "10.43.0.0/16 dev lo", "ip", "route")
	pod.listen(t, "10.42.0.9:80")
	if from := host.dial(t, "10.42.0.9:80"); !strings.HasPrefix(from, "10.42.0.1:") {
		t.Errorf("the pod saw %s", from)
	}
}

func TestPodsPassAFirewallAndAreMasqueraded(t *testing.T) {
	host, pod, outside := newSpace(t), newSpace(t), newSpace(t)
	host.nft(t, "table inet filter {\n chain f {\n type filter hook forward priority 0; policy drop;\n }\n chain i {\n type filter hook input priority 0; policy drop;\n }\n}\n")
	c := newComponent(t, ipv4Options())
	host.run(t, c)
	host.join(t, pod, "veth0", "", "10.42.0.9/22")
	host.command(t, "ip", "link", "set", "veth0", "master", "boxyard0")
	pod.command(t, "ip", "route", "add", "default", "via", "10.42.0.1")
	host.join(t, outside, "wan0", "198.51.100.1/24", "198.51.100.2/24")

	outside.listen(t, "198.51.100.2:80")
	if from := pod.dial(t, "198.51.100.2:80"); !strings.HasPrefix(from, "198.51.100.1:") {
		t.Errorf("the world saw %s", from)
	}
	host.listen(t, "10.42.0.1:6443")
	if from := pod.dial(t, "10.42.0.1:6443"); !strings.HasPrefix(from, "10.42.0.9:") {
		t.Errorf("the node saw %s", from)
	}
}

// A connection to a Service that is not served yet is not refused, and succeeds
// once it is: within the next try of TCP.
func TestServiceServedLater(t *testing.T) {
	for name, tt := range map[string]struct{ service, node, family string }{
		"ipv4": {"10.43.0.9", "10.42.0.1:8080", "ip"},
		"ipv6": {"fd42:b0c5:43::9", "[fd42:b0c5:42::1]:8080", "ip6"},
	} {
		t.Run(name, func(t *testing.T) {
			host := newSpace(t)
			host.run(t, newComponent(t, dualOptions()))
			host.listen(t, tt.node)
			var from string
			dialed := host.start(func() error {
				var err error
				from, err = dial(net.JoinHostPort(tt.service, "80"))
				return err
			})
			eventually(t, func() error {
				return <-host.start(func() error {
					out, err := os.ReadFile("/proc/thread-self/net/tcp")
					if tt.family == "ip6" {
						out, err = os.ReadFile("/proc/thread-self/net/tcp6")
					}
					if err != nil || !strings.Contains(string(out), " 02 ") {
						return fmt.Errorf("nobody is connecting: %v\n%s", err, out)
					}
					return nil
				})
			})
			host.nft(t, fmt.Sprintf("table %s t {\n chain c {\n type nat hook output priority -100;\n %s daddr %s tcp dport 80 dnat to %s\n }\n}\n",
				tt.family, tt.family, tt.service, tt.node))
			if err := <-dialed; err != nil {
				t.Fatal(err)
			}
			if source := netip.MustParseAddrPort(from).Addr(); source != netip.MustParseAddrPort(tt.node).Addr() {
				t.Errorf("connected from %s", source)
			}
		})
	}
}

func TestAForeignInterfaceIsLeftAlone(t *testing.T) {
	host := newSpace(t)
	host.command(t, "ip", "link", "add", "boxyard0", "type", "veth", "peer", "name", "other")
	c := newComponent(t, ipv4Options())
	err := <-host.start(func() error { return c.Run(t.Context(), func() { t.Error("ready") }) })
	if err == nil || !strings.Contains(err.Error(), "boxyard0") {
		t.Errorf("got %v", err)
	}
	host.do(t, func() error { return c.Remove(t.Context()) })
	host.command(t, "ip", "link", "show", "boxyard0")
}

// join connects two namespaces by a pair of interfaces.
func (s space) join(t *testing.T, peer space, name, address, peerAddress string) {
	t.Helper()
	s.command(t, "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0")
	s.do(t, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(link, int(peer.net.Fd()))
	})
	if address != "" {
		s.command(t, "ip", "addr", "add", address, "dev", name)
	}
	s.command(t, "ip", "link", "set", name, "up")
	peer.command(t, "ip", "addr", "add", peerAddress, "dev", "eth0")
	peer.command(t, "ip", "link", "set", "eth0", "up")
}

// listen answers each connection with the address that it came from.
func (s space) listen(t *testing.T, address string) {
	t.Helper()
	var listener net.Listener
	s.do(t, func() error {
		var err error
		listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		return err
	})
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintln(conn, conn.RemoteAddr())
			_ = conn.Close()
		}
	}()
}

func (s space) dial(t *testing.T, address string) string {
	t.Helper()
	var from string
	s.do(t, func() error {
		var err error
		from, err = dial(address)
		return err
	})
	return from
}

func dial(address string) (string, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimSpace(line), nil
}
