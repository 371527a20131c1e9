//go:build integration

package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// instance is one around a binary that does nothing: these tests are of the confinement.
func instance(t *testing.T) *Instance {
	t.Helper()
	t.Setenv("BOXYARD_BIN", "/bin/true")
	t.Setenv("BOXYARD_PAYLOAD_DIR", "/nonexistent")
	in, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if in.ns.mnt == nil {
			return
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

func sh(t *testing.T, in *Instance, script string) string {
	t.Helper()
	out, err := in.Run(t.Context(), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestFilesStayInside(t *testing.T) {
	in := instance(t)
	sh(t, in, `for d in /etc /root /opt /usr/local /var/lib /var/log /run /var/lib/boxyard /var/lib/kubelet; do echo x > $d/`+in.ID+`; done; ls -d /run/netns`)
	for _, dir := range []string{"/etc", "/root", "/opt", "/usr/local", "/var/lib", "/var/log", "/run", "/var/lib/boxyard", "/var/lib/kubelet"} {
		if _, err := os.Stat(dir + "/" + in.ID); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file written to %s shows on the host: %v", dir, err)
		}
	}
	if got := sh(t, in, "cat /etc/boxyard/config.yaml"); got != "cgroupRoot: "+in.Cgroup {
		t.Errorf("config.yaml: %q", got)
	}
}

func TestNetworkIsItsOwn(t *testing.T) {
	in := instance(t)
	if got := sh(t, in, "ls /sys/class/net"); got != "lo" {
		t.Errorf("interfaces: %q, want lo", got)
	}
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil || sh(t, in, "ls /sys/fs/cgroup") == "" {
		t.Error("the cgroup hierarchies are missing")
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	if _, err := in.Dial(t.Context(), "tcp", listener.Addr().String()); err == nil {
		t.Error("the host's loopback is reached from inside")
	}
}

func TestDialReachesSocketsInside(t *testing.T) {
	in := instance(t)
	const path = "/run/inside.sock"
	var listener net.Listener
	err := in.Inside(func() (err error) {
		listener, err = new(net.ListenConfig).Listen(t.Context(), "unix", path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// Closing it would delete the path on the host: the file goes with the instance.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	defer func() { _ = listener.Close() }()
	conn, err := in.Dial(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestRebootForgetsWhatARebootForgets(t *testing.T) {
	in := instance(t)
	sh(t, in, `ip link add br0 type bridge; echo x > /run/gone; echo x > /var/lib/boxyard/kept; echo x > /etc/kept; (sleep 1000 >/dev/null 2>&1 &) ; cat /proc/sys/kernel/random/boot_id > /var/lib/boxyard/boot`)
	before, err := in.Processes()
	if err != nil || len(before) != 1 {
		t.Fatalf("processes before: %v, %v", before, err)
	}
	if err := in.Reboot(); err != nil {
		t.Fatal(err)
	}
	if left, err := in.Processes(); err != nil || len(left) != 0 {
		t.Errorf("processes after: %v, %v", left, err)
	}
	sh(t, in, `set -e; test ! -e /run/gone; test -e /var/lib/boxyard/kept; test -e /etc/kept; ! ip link show br0 2>/dev/null; ! cmp -s /proc/sys/kernel/random/boot_id /var/lib/boxyard/boot; ip link show lo | grep -q UP`)
}

func TestSnapshotSeesChanges(t *testing.T) {
	in := instance(t)
	take := func() Snapshot {
		s, err := in.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := take()
	if diff := cmp.Diff(first, take()); diff != "" {
		t.Errorf("two snapshots of the same differ:\n%s", diff)
	}
	sh(t, in, `ip link add br0 type bridge; nft add table inet test; ip route add blackhole 10.99.0.0/16; ip rule add table 77; echo 1 > /proc/sys/net/ipv4/ip_forward; echo x > /root/file; mkdir /run/dir; groupadd test; mount -t tmpfs x /opt; mkdir /sys/fs/cgroup/pids/`+in.Cgroup+` /sys/fs/cgroup/`+in.Cgroup+` 2>/dev/null; echo x > /var/lib/boxyard/file`)
	after := take()
	for _, aspect := range []string{"links", "nft", "routes", "rules", "sysctls", "files", "run", "accounts", "mounts", "cgroups", "data"} {
		if first[aspect] == after[aspect] {
			t.Errorf("a change of %s is not seen", aspect)
		}
	}
	if first["kubelet"] != after["kubelet"] {
		t.Error("a change is seen where there was none")
	}
}

func TestCloseReportsAndEndsWhatIsLeft(t *testing.T) {
	in := instance(t)
	sh(t, in, "sleep 1000 >/dev/null 2>&1 &")
	// A process in namespaces of its own, as a container's, is known by its cgroup.
	sh(t, in, `for d in /sys/fs/cgroup/pids /sys/fs/cgroup; do [ -e $d/cgroup.procs ] && mkdir -p $d/`+in.Cgroup+`/x && break; done
echo $$ > $d/`+in.Cgroup+`/x/cgroup.procs; unshare -mn sleep 1001 >/dev/null 2>&1 &
for i in $(seq 50); do grep -qs . $d/`+in.Cgroup+`/x/cgroup.procs && break; sleep 0.1; done`)
	left, err := in.Processes()
	if err != nil {
		t.Fatal(err)
	}
	err = in.Close()
	if err == nil || strings.Count(err.Error(), "sleep") != 2 {
		t.Errorf("want an error that names both processes, got %v (running: %v)", err, left)
	}
	if strings.Contains(err.Error(), "left on the host") || strings.Contains(err.Error(), "cgroups are left") {
		t.Errorf("not cleaned up: %v", err)
	}
	if _, err := os.Stat(in.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", in.dir, err)
	}
	for _, p := range left {
		if in.owns(p.PID) {
			t.Errorf("%v still runs", p)
		}
	}
}

func TestExecEndsWithItsContext(t *testing.T) {
	in := instance(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := in.Exec(ctx, Command{Name: "sleep", Args: []string{"100"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	result, err := in.Exec(t.Context(), Command{Name: "sh", Args: []string{"-c", "echo out; echo err >&2; exit 7"}})
	if err != nil || result.Code != 7 || result.Stdout != "out\n" || result.Stderr != "err\n" {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestWhatAKilledTestHasLeftIsRemoved(t *testing.T) {
	const variable = "BOXYARD_TEST_LEAVE"
	if os.Getenv(variable) != "" {
		in := instance(t)
		cmd := in.Prepare(t.Context(), Command{Name: "sleep", Args: []string{"1000"}})
		if err := in.StartProcess(cmd); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("left %s %d\n", in.dir, cmd.Process.Pid)
		<-t.Context().Done()
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), variable+"=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var dir string
	var pid int
	if _, err := fmt.Fscanf(out, "left %s %d\n", &dir, &pid); err != nil {
		t.Fatal(err)
	}
	alive := instance(t)
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the instance of a process that lives: %v", err)
	}
	_ = child.Process.Kill()
	_ = child.Wait()
	instance(t)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s of a process that was killed: %v", dir, err)
	}
	// One that waits to be reaped has no arguments any more.
	if args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); len(args) > 0 {
		t.Errorf("its process %d lives: %q", pid, args)
	}
	if _, err := os.Stat(alive.dir); err != nil {
		t.Errorf("our own: %v", err)
	}
}
