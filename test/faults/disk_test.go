//go:build faults

package faults

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/test/harness"
)

// onDiskOf mounts a file system of so many MiB at path, at each boot of an instance.
func onDiskOf(mib int, path string) harness.Options {
	return harness.Options{Setup: func() error {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		return unix.Mount("disk", path, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", mib))
	}}
}

// fill leaves no byte at path, and gives what frees it again.
func (y yard) fill(path string) (free func()) {
	y.t.Helper()
	script := "dd if=/dev/zero of=" + path + "/fill bs=1M 2>/dev/null; dd if=/dev/zero of=" + path + "/rest bs=1 count=65536 2>/dev/null; df -B1 --output=avail " + path + " | tail -1"
	out := y.must(y.Run(y.t.Context(), "sh", "-c", script))
	y.t.Logf("%s is full: %s bytes left", path, out)
	return func() {
		y.must(y.Run(y.t.Context(), "rm", path+"/fill", path+"/rest"))
		y.t.Logf("%s has space again", path)
	}
}

// part is a row of status.
func (y yard) part(name string) (state, why string) {
	y.t.Helper()
	status, err := y.Status(y.t.Context())
	if err != nil {
		y.t.Fatal(err)
	}
	for _, c := range status.Components {
		if c.Name == name {
			return c.State, c.WaitingFor + "\n" + c.LastError
		}
	}
	y.t.Fatalf("status has no %s", name)
	return "", ""
}

// TestDiskFullUnderEtcd: the API goes away, says why, stays away for longer than the supervisor's budget lasts, and
// comes back by itself with all that it had acknowledged.
func TestDiskFullUnderEtcd(t *testing.T) {
	const disk = "/var/lib/boxyard/cluster"
	y := start(t, onDiskOf(320, disk))
	book, stop := y.write(4, 10<<10)
	y.wait(3 * time.Second)
	free := y.fill(disk)
	y.poll(2*time.Minute, "status says that the disk is full", func() error {
		state, why := y.part("cluster")
		if state == "ready" || !strings.Contains(why, "the disk is full") || !strings.Contains(why, disk) {
			return fmt.Errorf("%s: %s", state, why)
		}
		return nil
	})
	y.poll(time.Minute, "the budget of starts is spent", func() error {
		if state, why := y.part("cluster"); state != "failed" {
			return fmt.Errorf("%s: %s", state, why)
		}
		return nil
	})
	free()
	y.isReady(time.Minute, "with space again")
	created, _, _ := book.Count()
	y.poll(30*time.Second, "writes go on", func() error {
		if now, _, _ := book.Count(); now <= created {
			return errors.New("none is acknowledged")
		}
		return nil
	})
	stop()
	y.verify(book, 100)
}

// TestDiskFullUnderContainerd: what needs space is refused with the reason, what is there stays, and pods come back.
func TestDiskFullUnderContainerd(t *testing.T) {
	const disk = "/var/lib/boxyard/containerd"
	y := start(t, onDiskOf(700, disk))
	ctx := t.Context()
	y.must(y.Run(ctx, "sh", "-c", "echo 'FROM boxyard/base\nRUN echo kept > /kept' | "+y.Binary+" docker build -t kept -"))
	y.must(y.Kubectl(ctx, "create", "deployment", "web", "--image=kept", "--", "sleep", "3600"))
	y.must(y.Kubectl(ctx, "rollout", "status", "deployment/web", "--timeout=60s"))
	book, stop := y.write(2, 100)
	free := y.fill(disk)

	result, err := y.Exec(ctx, harness.Command{Name: "sh", Args: []string{"-c", "echo 'FROM boxyard/base\nRUN dd if=/dev/zero of=/large bs=1M count=8' | " + y.Binary + " docker build -t large -"}})
	if err != nil || result.Code == 0 || !strings.Contains(strings.ToLower(result.Output()), "no space left") {
		t.Errorf("docker build on a full disk: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	y.must(y.Kubectl(ctx, "create", "deployment", "late", "--image=kept", "--", "sleep", "3600"))
	y.poll(2*time.Minute, "an event says why a pod does not start", func() error {
		out, err := y.Kubectl(ctx, "get", "events", "--field-selector=type=Warning", "-o", "jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}")
		lower := strings.ToLower(out)
		if err == nil && !strings.Contains(lower, "no space left") && !strings.Contains(lower, "disk-pressure") && !strings.Contains(lower, "diskpressure") && !strings.Contains(lower, "ephemeral-storage") {
			err = fmt.Errorf("events:\n%s", out)
		}
		return err
	})
	y.isReady(time.Minute, "with a full disk")
	if n, err := y.Kill("containerd"); err != nil || n != 1 {
		t.Fatalf("%d processes of containerd killed: %v", n, err)
	}
	y.wait(time.Second)
	y.isReady(time.Minute, "killed while its disk is full")
	y.must(y.Boxyard(ctx, "down"))
	if left, err := y.Processes(); err != nil || len(left) > 0 {
		t.Errorf("after down on a full disk there still ran: %v, %v", left, err)
	}
	free()
	if result, err := y.Up(ctx); err != nil || result.Code != 0 {
		t.Fatalf("up: %v\n%s", err, result.Output())
	}
	began := time.Now()
	// Where the kubelet has seen the full disk first, it waits for five minutes of relief, as upstream has it.
	y.poll(7*time.Minute, "both Deployments are available", func() error {
		for _, name := range []string{"web", "late"} {
			if _, err := y.Kubectl(ctx, "rollout", "status", "deployment/"+name, "--timeout=1s"); err != nil {
				return err
			}
		}
		return nil
	})
	t.Logf("pods run again after %v", time.Since(began).Round(time.Second))
	y.isReady(time.Minute, "with space again")
	y.must(y.Docker(ctx, "run", "--rm", "kept", "cat", "/kept"))
	stop()
	y.verify(book, 100)
}

// TestDiskFullUnderLogs: nothing that runs minds, parts can even start, and logs go on with space.
func TestDiskFullUnderLogs(t *testing.T) {
	const disk = "/var/log"
	y := start(t, onDiskOf(64, disk))
	ctx := t.Context()
	y.must(y.Kubectl(ctx, "create", "deployment", "talker", "--image=boxyard/base", "--", "sh", "-c", "while true; do echo tick $(date +%s); sleep 0.2; done"))
	y.must(y.Kubectl(ctx, "rollout", "status", "deployment/talker", "--timeout=60s"))
	book, stop := y.write(2, 100)
	free := y.fill(disk)
	y.wait(5 * time.Second)
	for _, part := range []string{"cluster", "dockerd", "containerd", "dns"} {
		if n, err := y.Kill(part); err != nil || n != 1 {
			t.Fatalf("%d processes of %s killed: %v", n, part, err)
		}
	}
	y.wait(time.Second)
	y.isReady(time.Minute, "killed while no log could be written")
	y.must(y.Kubectl(ctx, "rollout", "status", "deployment/talker", "--timeout=60s"))
	y.must(y.Kubectl(ctx, "run", "late", "--image=boxyard/base", "--command", "--", "sleep", "3600"))
	began := time.Now()
	y.poll(time.Minute, "the pod runs, or an event says why it does not", func() error {
		phase, err := y.Kubectl(ctx, "get", "pod", "late", "-o", "jsonpath={.status.phase}")
		if err != nil || phase == "Running" {
			return err
		}
		events, err := y.Kubectl(ctx, "get", "events", "--field-selector=involvedObject.name=late", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(strings.ToLower(events), "no space left") {
			err = fmt.Errorf("%s: %s", phase, events)
		}
		return err
	})
	free()
	y.must(y.Kubectl(ctx, "wait", "pod/late", "--for=condition=Ready", "--timeout=120s"))
	y.poll(time.Minute, "the log goes on", func() error {
		out, err := y.Kubectl(ctx, "logs", "deployment/talker", "--tail=1")
		var at int64
		if err == nil {
			_, err = fmt.Sscanf(strings.TrimSpace(out), "tick %d", &at)
		}
		if err == nil && at < began.Unix() {
			err = fmt.Errorf("the last line is of %v", time.Unix(at, 0))
		}
		return err
	})
	y.isReady(time.Minute, "with space again")
	stop()
	y.verify(book, 100)
}
