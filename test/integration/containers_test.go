//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestContainers has what Docker's containers, networks and volumes owe to what we configure and join: the init of the
// payload, live-restore, our bridges and name server, and a machine without CAP_SYS_RESOURCE. For the rest there are
// moby's own tests (make moby-suite).
func TestContainers(t *testing.T) {
	b := newBox(t, harness.Options{Config: "without: [cluster]\n"})
	b.up()
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"init", containerInit},
		{"input", containerInput},
		{"logs rotate", containerLogs},
		{"ports", containerPorts},
		{"limits", containerLimits},
		{"seccomp", containerSeccomp},
		{"health", containerHealth},
		{"network modes", networkModes},
		{"aliases", networkAliases},
		{"macvlan", networkMacvlan},
		{"volumes", containerVolumes},
		{"prunes", containerPrunes},
		{"restart policies", restartPolicies}, // last: it restarts everything
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

// ran runs a container to its end and gives what it printed.
func (b box) ran(args ...string) string {
	b.t.Helper()
	return b.docker(append([]string{"run", "--rm"}, args...)...)
}

// keep runs a container until the test ends.
func (b box) keep(name string, args ...string) {
	b.t.Helper()
	b.docker(append([]string{"run", "--detach", "--name", name}, args...)...)
	b.afterwards("rm", "--force", "--volumes", name)
}

// afterwards runs docker when the test has ended, whatever comes of it.
func (b box) afterwards(args ...string) {
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // the test's own has ended
		defer cancel()
		_, _ = b.Docker(ctx, args...)
	})
}

// containerInit: the payload's init is process 1, passes signals on and reaps orphans.
func containerInit(b box) {
	if out := b.ran("--init", "boxyard/base", "cat", "/proc/1/comm"); !strings.Contains(out, "init") {
		b.t.Errorf("process 1 is %q", out)
	}
	b.docker("run", "--detach", "--init", "--name", "init", "boxyard/base", "sh", "-c",
		"trap 'exit 7' TERM; (sleep 0.1 &) ; while :; do sleep 0.1; done")
	defer b.docker("rm", "--force", "init")
	b.eventually(10*time.Second, "no zombie is left", func() error {
		out, err := b.Docker(b.t.Context(), "exec", "init", "sh", "-c", "grep -l '^State:.*zombie' /proc/[0-9]*/status; true")
		if err == nil && strings.TrimSpace(out) != "" {
			err = errors.New(out)
		}
		return err
	})
	b.docker("stop", "--time", "10", "init")
	if code := b.docker("inspect", "--format", "{{.State.ExitCode}}", "init"); code != "7" {
		b.t.Errorf("exit code %s after SIGTERM, want 7", code)
	}
}

// containerInput: what a client sends before its container is there to read is not lost, whoever looks at the
// container's pipes meanwhile.
func containerInput(b box) {
	lost := b.sh(`for i in 1 2 3; do
	for j in $(seq 15); do
		got=$(echo $i.$j | docker run --rm -i boxyard/base cat 2>&1)
		[ "$got" = $i.$j ] || echo "sent $i.$j, got $got"
	done &
done; wait`)
	if lost != "" {
		b.t.Error(lost)
	}
}

func containerLogs(b box) {
	b.keep("logs", "--log-opt", "max-size=10k", "--log-opt", "max-file=2", "boxyard/base",
		"sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i of many lines; i=$((i+1)); done; sleep 600")
	b.eventually(20*time.Second, "the last line is there", func() error {
		out, err := b.Docker(b.t.Context(), "logs", "--tail", "1", "logs")
		if err == nil && strings.TrimSpace(out) != "line 1999 of many lines" {
			err = fmt.Errorf("the last is %q", out)
		}
		return err
	})
	path := b.docker("inspect", "--format", "{{.LogPath}}", "logs")
	if sizes := strings.Fields(b.sh("stat --format %s " + path + "*")); len(sizes) != 2 {
		b.t.Errorf("%d files of logs: %v", len(sizes), sizes)
	}
}

func containerPorts(b box) {
	const page = "echo ok >/index.html; exec httpd -f -p 8080 -h /"
	b.docker("network", "create", "--ipv6", "six")
	b.afterwards("network", "rm", "six")
	b.keep("both", "--publish", "8090:8080", "boxyard/base", "sh", "-c", page)
	b.keep("six", "--network", "six", "--publish", "8091:8080", "boxyard/base", "sh", "-c", page)
	b.keep("mine", "--publish", "127.0.0.1:8092:8080", "boxyard/base", "sh", "-c", page)
	b.keep("any", "--publish", "8080", "boxyard/base", "sh", "-c", page)
	const node, node6 = "10.42.0.1", "[fd42:b0c5:42::1]"
	for _, at := range []string{"127.0.0.1:8090", node + ":8090", "127.0.0.1:8091", node6 + ":8091", "127.0.0.1:8092"} {
		b.answers("http://"+at+"/", "ok")
	}
	if b.listens(node + ":8092") {
		b.t.Error("a port of 127.0.0.1 answers on another address")
	}
	address := b.docker("port", "any", "8080/tcp")
	_, port, _ := strings.Cut(strings.Fields(address)[0], ":")
	b.answers("http://127.0.0.1:"+port+"/", "ok")
	taken := b.try("run", "--rm", "--publish", "8090:80", "boxyard/base", "true")
	if taken.Code != 125 || !strings.Contains(taken.Output(), "port is already allocated") {
		b.t.Errorf("a port that is taken: exit code %d\n%s", taken.Code, taken.Output())
	}
}

// containerLimits: this machine may not raise its own limits, and says so; below them all is as everywhere.
func containerLimits(b box) {
	if out := b.ran("--ulimit", "nofile=64:128", "boxyard/base", "sh", "-c", "ulimit -Sn; ulimit -Hn"); out != "64\n128" {
		b.t.Errorf("limits of open files: %q", out)
	}
	hard := b.sh("ulimit -Hn")
	if hard != "unlimited" && b.sh("grep CapEff /proc/self/status | cut -f2") != "000001ffffffffff" {
		above := b.try("run", "--rm", "--ulimit", "nofile=2000000000:2000000000", "boxyard/base", "true")
		if above.Code == 0 || !strings.Contains(above.Output(), "operation not permitted") {
			b.t.Errorf("a limit above the machine's: exit code %d\n%s", above.Code, above.Output())
		}
	}
	const memory = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
	if out := b.ran("--memory", "64m", "boxyard/base", "sh", "-c", memory); out != "67108864" {
		b.t.Errorf("the limit of memory is %s", out)
	}
	killed := b.try("run", "--memory", "16m", "--memory-swap", "16m", "--name", "greedy", "boxyard/base",
		"sh", "-c", "head -c 64000000 /dev/zero | tail -c 64000000 >/dev/null")
	if oom := b.docker("inspect", "--format", "{{.State.OOMKilled}} {{.State.ExitCode}}", "greedy"); killed.Code == 0 || !strings.HasPrefix(oom, "true") {
		b.t.Errorf("one that takes too much ended with %d, %s", killed.Code, oom)
	}
	b.docker("rm", "greedy")
	bomb := b.try("run", "--rm", "--pids-limit", "8", "boxyard/base", "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; wait")
	if !strings.Contains(bomb.Output(), "fork") {
		b.t.Errorf("ten processes where eight may be: exit code %d\n%s", bomb.Code, bomb.Output())
	}
}

// containerSeccomp: the default profile refuses new namespaces to who has no capability for them.
func containerSeccomp(b box) {
	args := []string{"run", "--rm", "--user", "1000", "boxyard/base", "unshare", "--user", "true"}
	if denied := b.try(args...); denied.Code == 0 || !strings.Contains(denied.Output(), "Operation not permitted") {
		b.t.Errorf("with the default profile: exit code %d\n%s", denied.Code, denied.Output())
	}
	free := append([]string{"run", "--rm", "--security-opt", "seccomp=unconfined"}, args[2:]...)
	if allowed := b.try(free...); allowed.Code != 0 {
		b.t.Errorf("without a profile: exit code %d\n%s", allowed.Code, allowed.Output())
	}
}

func containerHealth(b box) {
	b.keep("healthy", "--health-cmd", "test -e /ok", "--health-interval", "200ms", "--health-retries", "2", "boxyard/base", "sleep", "600")
	becomes := func(want string) {
		b.t.Helper()
		b.eventually(15*time.Second, "it is "+want, func() error {
			out, err := b.Docker(b.t.Context(), "inspect", "--format", "{{.State.Health.Status}}", "healthy")
			if err == nil && strings.TrimSpace(out) != want {
				err = fmt.Errorf("it is %q", out)
			}
			return err
		})
	}
	becomes("unhealthy")
	b.docker("exec", "healthy", "touch", "/ok")
	becomes("healthy")
}

func networkModes(b box) {
	if out := b.ran("--network", "none", "boxyard/base", "ls", "/sys/class/net"); out != "lo" {
		b.t.Errorf("with no network there are %q", out)
	}
	if out := b.ran("--network", "host", "boxyard/base", "ls", "/sys/class/net"); !strings.Contains(out, "boxyard1") {
		b.t.Errorf("the host's network has %q", out)
	}
	b.keep("owner", "boxyard/base", "sh", "-c", "echo ok >/index.html; exec httpd -f -p 8080 -h /")
	b.eventually(10*time.Second, "a neighbour reaches it on loopback", func() error {
		_, err := b.Docker(b.t.Context(), "run", "--rm", "--network", "container:owner", "boxyard/base", "wget", "-qO-", "http://127.0.0.1:8080/")
		return err
	})
	if out := b.ran("boxyard/base", "nslookup", "host.docker.internal"); !strings.Contains(out, "10.42.0.1") {
		b.t.Errorf("host.docker.internal: %q", out)
	}
}

func networkAliases(b box) {
	b.docker("network", "create", "named")
	b.afterwards("network", "rm", "named")
	b.keep("server", "--network", "named", "--network-alias", "shop", "--network-alias", "store", "boxyard/base",
		"sh", "-c", "echo ok >/index.html; exec httpd -f -p 8080 -h /")
	for _, name := range []string{"server", "shop", "store"} {
		b.eventually(10*time.Second, name+" answers", func() error {
			_, err := b.Docker(b.t.Context(), "run", "--rm", "--network", "named", "boxyard/base", "wget", "-qO-", "http://"+name+":8080/")
			return err
		})
	}
	if other := b.try("run", "--rm", "boxyard/base", "nslookup", "shop"); other.Code == 0 {
		b.t.Error("an alias is known on another network")
	}
}

// networkMacvlan puts a container beside the machine on a network of the machine's.
func networkMacvlan(b box) {
	b.sh("ip link add wire type veth peer name office; ip link set wire up; ip link set office up; ip addr add 192.0.2.1/24 dev office")
	b.docker("network", "create", "--driver", "macvlan", "--subnet", "192.0.2.0/24", "--opt", "parent=wire", "beside")
	b.keep("neighbour", "--network", "beside", "--ip", "192.0.2.9", "boxyard/base", "sh", "-c", "echo ok >/index.html; exec httpd -f -p 8080 -h /")
	b.answers("http://192.0.2.9:8080/", "ok")
	b.docker("rm", "--force", "neighbour")
	b.docker("network", "rm", "beside")
	b.sh("ip link del wire")
}

func containerVolumes(b box) {
	b.build("with-data", "FROM boxyard/base\nRUN mkdir /data && echo from the image >/data/file\nVOLUME /data\n")
	if out := b.ran("--volume", "filled:/data", "with-data", "cat", "/data/file"); out != "from the image" {
		b.t.Errorf("a new volume has %q", out)
	}
	anonymous := len(strings.Fields(b.docker("volume", "ls", "--quiet")))
	b.ran("with-data", "true")
	if after := len(strings.Fields(b.docker("volume", "ls", "--quiet"))); after != anonymous {
		b.t.Errorf("there were %d volumes, and %d after a container with --rm", anonymous, after)
	}
	dir := b.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("mine"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if out := b.ran("--volume", dir+":/bound:ro", "boxyard/base", "sh", "-c", "cat /bound/file; touch /bound/new 2>&1; true"); !strings.HasPrefix(out, "mine") || !strings.Contains(out, "Read-only") {
		b.t.Errorf("a directory that is bound to read: %q", out)
	}
	if out := b.ran("--tmpfs", "/scratch:size=1m", "boxyard/base", "sh", "-c", "dd if=/dev/zero of=/scratch/f bs=1024 count=2048 2>&1; true"); !strings.Contains(out, "No space left") {
		b.t.Errorf("a tmpfs of a megabyte: %q", out)
	}
	b.docker("volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m", "small")
	if out := b.ran("--volume", "small:/small", "boxyard/base", "sh", "-c", "df -k /small | tail -1"); !strings.Contains(out, "1024") {
		b.t.Errorf("a volume with options of mount: %q", out)
	}
	b.docker("volume", "create", "--opt", "type=nfs", "--opt", "o=addr=127.0.0.1,rw", "--opt", "device=:/none", "far")
	if far := b.try("run", "--rm", "--volume", "far:/far", "boxyard/base", "true"); far.Code == 0 || !strings.Contains(far.Output(), "far") {
		b.t.Errorf("a volume of a server that is not there: exit code %d\n%s", far.Code, far.Output())
	}
	b.docker("volume", "rm", "filled", "small", "far")
	b.forget("with-data")
}

// containerPrunes: each takes what nobody uses, and what its filter says.
func containerPrunes(b box) {
	b.docker("run", "--name", "done-a", "--label", "keep=1", "boxyard/base", "true")
	b.docker("run", "--name", "done-b", "boxyard/base", "true")
	b.docker("container", "prune", "--force", "--filter", "label!=keep")
	if out := b.docker("ps", "--all", "--format", "{{.Names}}"); out != "done-a" {
		b.t.Errorf("left are containers %q", out)
	}
	b.docker("rm", "done-a")
	b.docker("network", "create", "idle")
	b.docker("network", "prune", "--force")
	b.docker("volume", "create", "named")
	b.docker("volume", "create") // without a name: anonymous
	b.docker("volume", "prune", "--force")
	if out := b.docker("volume", "ls", "--quiet"); out != "named" {
		b.t.Errorf("left are volumes %q", out)
	}
	b.docker("volume", "prune", "--all", "--force")
	b.build("untagged", "FROM boxyard/base\nRUN echo one >/n\n")
	b.build("untagged", "FROM boxyard/base\nRUN echo two >/n\n")
	b.docker("image", "prune", "--force")
	if out := b.docker("images", "--quiet", "--filter", "dangling=true"); out != "" {
		b.t.Errorf("left are images without a name: %q", out)
	}
	if b.ran("untagged", "cat", "/n") != "two" {
		b.t.Error("an image with a name went")
	}
	b.forget("untagged")
	if out := b.docker("system", "df", "--format", "{{.Type}}"); out != "Images\nContainers\nLocal Volumes\nBuild Cache" {
		b.t.Errorf("docker system df:\n%s", out)
	}
	for network := range strings.FieldsSeq(b.docker("network", "ls", "--format", "{{.Name}}")) {
		if network == "idle" {
			b.t.Error("a network that nobody uses is left")
		}
	}
}

// restartPolicies hold over kill -9 of dockerd, which containers outlive, and over down and up, which they do not.
func restartPolicies(b box) {
	for name, policy := range map[string]string{"always": "always", "unless": "unless-stopped", "stopped": "unless-stopped", "never": "no"} {
		b.keep(name, "--restart", policy, "boxyard/base", "sleep", "86400")
	}
	b.docker("stop", "--time", "0", "stopped")
	b.keep("failing", "--restart", "on-failure:2", "boxyard/base", "false")
	b.eventually(20*time.Second, "the one that fails is given up", func() error {
		out, err := b.Docker(b.t.Context(), "inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "failing")
		if err == nil && strings.TrimSpace(out) != "2 exited" {
			err = errors.New(out)
		}
		return err
	})
	pid, dockerd := b.containerPID("never"), b.status().PIDOf("dockerd")
	if _, err := b.Kill("dockerd"); err != nil {
		b.t.Fatal(err)
	}
	b.eventually(30*time.Second, "another dockerd answers", func() error {
		if b.status().PIDOf("dockerd") == dockerd {
			return errors.New("the old one is not missed yet")
		}
		_, err := b.Docker(b.t.Context(), "ps")
		return err
	})
	if after := b.containerPID("never"); after != pid {
		b.t.Errorf("a container had pid %s, and %s after kill -9 of dockerd", pid, after)
	}
	b.boxyard("down")
	b.up()
	for name, want := range map[string]string{"always": "running", "unless": "running", "stopped": "exited", "never": "exited"} {
		b.eventually(20*time.Second, name+" is "+want, func() error {
			out, err := b.Docker(b.t.Context(), "inspect", "--format", "{{.State.Status}}", name)
			if err == nil && strings.TrimSpace(out) != want {
				err = fmt.Errorf("it is %s", out)
			}
			return err
		})
	}
}
