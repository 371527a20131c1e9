//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/ledger"
	"github.com/google/go-cmp/cmp"
)

// TestLifecycle walks one instance through everything that stops it, in this order. Each part
// starts and ends with a running platform; the last one removes it.
func TestLifecycle(t *testing.T) {
	b := newBox(t, harness.Options{})
	clean, err := b.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.up()
	b.build("kept:1", server("kept"))
	b.deploy("kept", "kept:1", 1)
	b.docker("run", "--detach", "--name", "always", "--restart", "always", "kept:1")
	b.docker("run", "--detach", "--name", "never", "kept:1")

	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"kill -9 of each part", killEachPart},
		{"kill -9 of the cluster while objects are written", killWhileWriting},
		{"kill -9 of the daemon, then up", killDaemon},
		{"an upgrade", upgrade},
		{"a container that ends while dockerd is away", exitWhileAway},
		{"down --keep-containers", downKeepContainers},
		{"down and up", downAndUp},
		{"kill -9 of everything, stale files", staleFiles},
		{"reboot", reboot},
	} {
		ok := t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
		if !ok {
			t.Fatalf("%s failed: the rest would only repeat it", part.name)
		}
	}
	t.Run("reset", func(t *testing.T) { reset(box{Instance: b.Instance, t: t}, clean) })
}

// pids of what must live on: a container and a pod.
func (b box) pids() string {
	b.t.Helper()
	return "container " + b.containerPID("always") + ", pod " + b.podPID("kept")
}

func (b box) samePIDs(before, when string) {
	b.t.Helper()
	if after := b.pids(); after != before {
		b.t.Errorf("%s something was restarted: %s, then %s", when, before, after)
	}
}

func killEachPart(b box) {
	before := b.pids()
	for _, part := range []string{"containerd", "dockerd", "cluster", "dns"} {
		old := b.status().PIDOf(part)
		if n, err := b.Kill(part); err != nil || n != 1 {
			b.t.Fatalf("%d processes of %s killed: %v", n, part, err)
		}
		b.eventually(15*time.Second, "another "+part+" runs", func() error {
			status, err := b.Status(b.t.Context())
			if err != nil {
				return err
			}
			if pid := status.PIDOf(part); pid == 0 || pid == old {
				return fmt.Errorf("pid %d", pid)
			}
			return nil
		})
		b.ready(15*time.Second, "after kill -9 of "+part)
	}
	b.samePIDs(before, "after the parts were killed")
	b.serves("kept", "kept")
}

// killWhileWriting is the short form of the faults test of this name: what the API acknowledged is there.
func killWhileWriting(b box) {
	api, err := b.API(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	defer api.Close()
	b.kubectl("create", "namespace", "written")
	book := ledger.New(api, "written", 100)
	ctx, stop := context.WithCancel(b.t.Context())
	var writers sync.WaitGroup
	writers.Go(func() { book.Write(ctx, 4) })
	defer writers.Wait()
	defer stop()
	for i := range 3 {
		created, deleted, _ := book.Count()
		b.eventually(30*time.Second, "objects are written", func() error {
			if now, gone, _ := book.Count(); now+gone < created+deleted+50 {
				return fmt.Errorf("only %d since kill %d: %w", now+gone-created-deleted, i, book.LastError())
			}
			return nil
		})
		if n, err := b.Kill("cluster"); err != nil || n != 1 {
			b.t.Fatalf("%d cluster processes killed: %v", n, err)
		}
	}
	b.ready(30*time.Second, "after three kills")
	stop()
	writers.Wait()
	if err := book.Verify(b.t.Context()); err != nil {
		b.t.Error(err)
	}
	b.kubectl("delete", "namespace", "written")
}

func killDaemon(b box) {
	before, status := b.pids(), b.status()
	if n, err := b.Kill("boxyard"); err != nil || n != 1 {
		b.t.Fatalf("%d daemons killed: %v", n, err)
	}
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"status"}})
	if err != nil || result.Code != 5 {
		b.t.Errorf("status without a daemon: %v, exit code %d, want 5\n%s", err, result.Code, result.Output())
	}
	b.serves("kept", "kept") // nobody needs the daemon to be served
	b.docker("ps")
	b.up()
	after := b.status()
	for _, part := range []string{"containerd", "dockerd", "cluster", "dns"} {
		if status.PIDOf(part) != after.PIDOf(part) {
			b.t.Errorf("%s was not adopted: pid %d, then %d", part, status.PIDOf(part), after.PIDOf(part))
		}
	}
	b.samePIDs(before, "after the daemon was killed")
}

// upgrade replaces the program: the new one says that the old one still runs, and, once that is gone, adopts
// its parts.
func upgrade(b box) {
	const next = "v99"
	before, status := b.pids(), b.status()
	program, err := os.ReadFile(b.Binary)
	if err != nil {
		b.t.Fatal(err)
	}
	// A version of the same length keeps everything where it is, the payload behind the program included.
	version := next + strings.Repeat("+", len(status.Version)-len(next))
	exe := filepath.Join(b.t.TempDir(), "boxyard")
	if err := os.WriteFile(exe, bytes.ReplaceAll(program, []byte(status.Version), []byte(version)), 0o755); err != nil {
		b.t.Fatal(err)
	}
	up := func() harness.Result {
		result, err := b.Exec(b.t.Context(), harness.Command{Name: exe, Args: b.UpArgs()})
		if err != nil || result.Code != 0 {
			b.t.Fatalf("up of the new program: %v, exit code %d\n%s", err, result.Code, result.Output())
		}
		return result
	}
	if said := up().Stderr; !strings.Contains(said, status.Version) || !strings.Contains(said, version) {
		b.t.Errorf("up beside an older daemon does not name both versions:\n%s", said)
	}
	if _, err := b.Kill("boxyard"); err != nil {
		b.t.Fatal(err)
	}
	up()
	after := b.status()
	if after.Version != version {
		b.t.Errorf("version %s runs, want %s", after.Version, version)
	}
	for _, part := range []string{"containerd", "dockerd", "cluster", "dns"} {
		if status.PIDOf(part) != after.PIDOf(part) {
			b.t.Errorf("%s was not adopted: pid %d, then %d", part, status.PIDOf(part), after.PIDOf(part))
		}
	}
	b.boxyard("down", "--keep-containers")
	b.up() // and back
	b.samePIDs(before, "after an upgrade and back")
}

func exitWhileAway(b box) {
	b.docker("run", "--detach", "--name", "short", "--restart", "always", "boxyard/base", "sleep", "3600")
	pid := b.containerPID("short")
	if _, err := b.Kill("dockerd"); err != nil {
		b.t.Fatal(err)
	}
	b.sh("kill -9 " + pid)
	b.eventually(10*time.Second+15*time.Second, "its restart policy is applied", func() error {
		now, err := b.Docker(b.t.Context(), "inspect", "--format", "{{.State.Running}} {{.State.Pid}}", "short")
		if err == nil && (!strings.HasPrefix(now, "true") || strings.Contains(now, pid)) {
			err = errors.New(now)
		}
		return err
	})
	b.ready(15*time.Second, "afterwards")
	b.docker("rm", "--force", "short")
}

func downKeepContainers(b box) {
	before := b.pids()
	b.boxyard("down", "--keep-containers")
	for _, part := range []string{"boxyard", "containerd", "dockerd", "cluster", "dns"} {
		if left, err := b.Part(part); err != nil || len(left) > 0 {
			b.t.Errorf("after down --keep-containers: %v, %v", left, err)
		}
	}
	b.up()
	b.samePIDs(before, "after down --keep-containers and up")
	b.serves("kept", "kept")
}

func downAndUp(b box) {
	b.boxyard("down")
	if left, err := b.Processes(); err != nil || len(left) > 0 {
		b.t.Errorf("after down: %v, %v", left, err)
	}
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"down"}})
	if err != nil || result.Code != 0 && result.Code != 5 {
		b.t.Errorf("a second down: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	b.up()
	b.cameBack("after down and up")
}

// cameBack expects what was running to run again: pods, and containers with a restart policy.
func (b box) cameBack(when string) {
	b.t.Helper()
	b.eventually(60*time.Second, "the Deployment serves "+when, func() error {
		_, err := b.Kubectl(b.t.Context(), "rollout", "status", "deployment/kept", "--timeout=2s")
		return err
	})
	b.serves("kept", "kept")
	b.eventually(20*time.Second, "the container with a restart policy runs "+when, func() error {
		out, err := b.Docker(b.t.Context(), "inspect", "--format", "{{.State.Running}}", "always")
		if err == nil && strings.TrimSpace(out) != "true" {
			err = errors.New(out)
		}
		return err
	})
	if running := b.docker("inspect", "--format", "{{.State.Running}}", "never"); running != "false" {
		b.t.Errorf("%s the container without a restart policy runs", when)
	}
}

// staleFiles: everything was killed, and what it wrote to /run is still there, with the pid of
// a process that has nothing to do with us.
func staleFiles(b box) {
	for _, part := range []string{"boxyard", "cluster", "dns", "dockerd", "containerd"} {
		if _, err := b.Kill(part); err != nil {
			b.t.Fatal(err)
		}
	}
	stranger := b.sh("sleep 3600 >/dev/null 2>&1 & echo $!")
	defer b.sh("kill " + stranger)
	b.sh(`sed -i -E 's/("pid": *)[0-9]+/\1` + stranger + `/' /run/boxyard/process/*.json; for f in /run/boxyard/*.pid; do [ -e "$f" ] && echo ` + stranger + ` > "$f"; done; true`)
	b.up()
	b.sh("kill -0 " + stranger)
	b.cameBack("after everything was killed")
}

func reboot(b box) {
	if err := b.Reboot(); err != nil {
		b.t.Fatal(err)
	}
	b.up()
	b.cameBack("after a reboot")
}

// reset leaves the host as it was before the first up.
func reset(b box, clean harness.Snapshot) {
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"reset"}, Stdin: strings.NewReader("n\n")})
	if err != nil || result.Code == 0 {
		b.t.Errorf("reset answered with no: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	if !b.status().Ready {
		b.t.Fatal("reset answered with no has stopped something")
	}
	b.boxyard("reset", "--yes")
	if left, err := b.Processes(); err != nil || len(left) > 0 {
		b.t.Errorf("after reset: %v, %v", left, err)
	}
	after, err := b.Snapshot(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for aspect := range clean {
		if diff := cmp.Diff(hostLines(clean[aspect]), hostLines(after[aspect])); diff != "" {
			b.t.Errorf("%s differ (-before the first up, +after reset):\n%s", aspect, diff)
		}
	}
}

// hostLines leaves out what is not Boxyard's doing: the payload that the harness put there before the
// first up, and what clients keep in their user's home.
func hostLines(aspect string) []string {
	return slices.DeleteFunc(strings.Split(aspect, "\n"), func(line string) bool {
		return strings.Contains(line, " payload") || strings.Contains(line, "/.docker") ||
			strings.Contains(line, "/.kube") || strings.Contains(line, "/.config") ||
			strings.HasPrefix(line, "Dc") && strings.HasSuffix(line, "/cni") // hides that of a Boxyard beside us
	})
}
