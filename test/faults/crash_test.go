//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// crashes is how often each victim is killed during each operation; ROUNDS takes another number.
const crashes = 20

// operation is something that a user waits for, and that a kill may end halfway.
type operation struct {
	name string
	// start is the command of a round.
	start func(round int) harness.Command
	// kept fails where the round was acknowledged and is not there.
	kept func(round int) error
	// again does what a user would do when the round failed: the same once more.
	again bool
	// clean takes away what the round has made, as a user does.
	clean func(round int)
}

// TestCrashDuring kills dockerd and containerd at random moments of a build, a pull, a push, a copy and a
// `compose up`. Each ends with success or with an error that says something, what was acknowledged is there, and in
// the end there is no more of anything than before.
func TestCrashDuring(t *testing.T) {
	rounds := crashes
	if text := os.Getenv("ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	y := start(t, harness.Options{Config: "without: [cluster]\n"})
	y.prepareCrashes()
	for _, victim := range []string{"dockerd", "containerd"} {
		for _, o := range y.operations() {
			t.Run(o.name+"/"+victim, func(t *testing.T) {
				yard{Instance: y.Instance, t: t}.crash(victim, o, rounds)
			})
		}
	}
}

// crash is one field of the matrix.
func (y yard) crash(victim string, o operation, rounds int) {
	y.t.Helper()
	usual := y.undisturbed(o)
	before, err := y.belongings()
	if err != nil {
		y.t.Fatal(err)
	}
	acknowledged := 0
	for round := 1; round <= rounds; round++ {
		if y.round(victim, o, round, usual) {
			acknowledged++
		}
	}
	y.t.Logf("an undisturbed %s takes %v; %d of %d were acknowledged", o.name, usual.Round(time.Millisecond), acknowledged, rounds)
	if rounds == crashes && acknowledged == 0 {
		y.t.Error("no round was acknowledged, so that nothing acknowledged is lost was not tried")
	}
	// Longer than it takes until dockerd is started anew because of builds that were cut short with containerd.
	y.poll(time.Minute, "there is no more than before", func() error { return y.hasNoMore(before) })
}

// undisturbed does the operation twice and tells how long the second took: the first also makes what stays.
func (y yard) undisturbed(o operation) time.Duration {
	y.t.Helper()
	var took time.Duration
	for range 2 {
		result, err := y.Exec(y.t.Context(), o.start(0))
		if err != nil || result.Code != 0 {
			y.t.Fatalf("%s without a fault: %v, exit code %d\n%s", o.name, err, result.Code, result.Output())
		}
		if err := o.kept(0); err != nil {
			y.t.Fatal(err)
		}
		took = result.Took
		o.clean(0)
	}
	if err := y.prune(); err != nil {
		y.t.Fatal(err)
	}
	return took
}

// prune takes away what is kept by design: the build cache, the records of builds, and for eight hours the layers of
// a pull that was cut short, so that it need not begin anew (moby's leases, daemon/containerd). An image is made and
// removed first: a file whose record a kill has prevented goes with the next content that is removed, and not before
// (containerd core/metadata, dirtyCS).
func (y yard) prune() error {
	_, err0 := y.Run(y.t.Context(), "sh", "-c", fmt.Sprintf("echo FROM scratch | %[1]s docker build --quiet --label of=%[2]d --tag swept - && %[1]s docker rmi swept", y.Binary, time.Now().UnixNano()))
	_, err1 := y.Docker(y.t.Context(), "builder", "prune", "--all", "--force")
	_, err2 := y.Docker(y.t.Context(), "buildx", "history", "rm", "--all")
	_, err3 := y.Docker(y.t.Context(), "image", "prune", "--force")
	return errors.Join(err0, err1, err2, err3)
}

func (y yard) round(victim string, o operation, round int, usual time.Duration) (acknowledged bool) {
	y.t.Helper()
	// Two minutes are far more than any of them takes: an operation that hangs fails here.
	ctx, cancel := context.WithTimeout(y.t.Context(), 2*time.Minute)
	defer cancel()
	type end struct {
		result harness.Result
		err    error
	}
	status, err := y.Status(ctx)
	if err != nil {
		y.t.Fatal(err)
	}
	ended := make(chan end, 1)
	go func() {
		result, err := y.Exec(ctx, o.start(round))
		ended <- end{result, err}
	}()
	// Also just after it ended: what was acknowledged a moment ago is there after the kill.
	moment := time.Duration(rand.Int64N(int64(usual + usual/2)))
	y.wait(moment)
	if n, err := y.Kill(victim); err != nil || n != 1 {
		y.t.Fatalf("round %d: %d processes of %s killed: %v", round, n, victim, err)
	}
	e := <-ended
	if e.err != nil {
		y.t.Fatalf("round %d: %s, %s killed after %v: %v", round, o.name, victim, moment, e.err)
	}
	said := e.result.Output()
	acknowledged = e.result.Code == 0
	if !acknowledged && said == "" || strings.Contains(said, "goroutine ") || strings.Contains(said, "panic:") {
		y.t.Errorf("round %d: no error for people, exit code %d:\n%s", round, e.result.Code, said)
	}
	if !acknowledged {
		y.t.Logf("round %d: killed after %v; it said: %s", round, moment.Round(time.Millisecond), last(said))
	}
	y.isWhole(round, victim, status.PIDOf(victim))
	if !acknowledged && o.again {
		// After a connection that was refused, dockerd's parts wait for up to three seconds before they try again;
		// and dockerd may be started anew some time after containerd.
		y.poll(45*time.Second, fmt.Sprintf("round %d: %s once more", round, o.name), func() error {
			result, err := y.Exec(y.t.Context(), o.start(round))
			if err == nil && result.Code != 0 {
				err = fmt.Errorf("exit code %d\n%s", result.Code, result.Output())
			}
			return err
		})
	}
	if acknowledged || o.again {
		if err := o.kept(round); err != nil {
			y.t.Errorf("round %d, %s killed after %v of %v, acknowledged %v: lost: %v", round, victim, moment, usual, acknowledged, err)
		}
	}
	o.clean(round)
	return acknowledged
}

// isWhole waits for the platform, which a row of kills may have made wait for its next start: for another process than
// the one that was killed, and until Docker has the other again.
func (y yard) isWhole(round int, victim string, killed int) {
	y.t.Helper()
	y.poll(2*time.Minute, fmt.Sprintf("every part is Ready after round %d", round), func() error {
		status, err := y.Status(y.t.Context())
		if err == nil && (!status.Ready || status.PIDOf(victim) == killed) {
			err = fmt.Errorf("%+v", status.Components)
		}
		if err == nil {
			_, err = y.Docker(y.t.Context(), "images")
		}
		return err
	})
}

func last(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return lines[len(lines)-1]
}

const (
	crashRegistry = "127.0.0.1:5000"
	pulled        = crashRegistry + "/pulled:1"
	pushed        = crashRegistry + "/pushed:"
	crashFiles    = "/opt/crash" // private to the instance
	composeFile   = `services:
  db:
    image: boxyard/base
    command: sleep 3600
    volumes: [data:/data]
    stop_grace_period: 0s
  web:
    image: boxyard/base
    command: sleep 3600
    depends_on: [db]
    networks: [default, back]
    ports: ["127.0.0.1:8085:8080"]
    stop_grace_period: 0s
networks: {back: {}}
volumes: {data: {}}
`
)

// prepareCrashes starts a registry with an image of a few layers, and a container to copy to.
func (y yard) prepareCrashes() {
	y.t.Helper()
	ctx := y.t.Context()
	program := filepath.Join(y.t.TempDir(), "registry")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "../registry")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		y.t.Fatalf("build the registry: %v\n%s", err, out)
	}
	serve := y.Prepare(ctx, harness.Command{Name: program, Args: []string{crashRegistry}})
	if err := y.StartProcess(serve); err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { _, _ = serve.Process.Kill(), serve.Wait() })
	y.poll(10*time.Second, "the registry answers", func() error {
		status, _, err := y.Get(ctx, "http://"+crashRegistry+"/v2/")
		if err == nil && status != 200 {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	y.must(y.Run(ctx, "sh", "-c", "mkdir -p "+crashFiles+"/compose && dd if=/dev/urandom of="+crashFiles+"/file bs=1M count=48 2>/dev/null && cat > "+crashFiles+"/compose/compose.yaml <<'END'\n"+composeFile+"END\n"))
	y.must(y.Run(ctx, "sh", "-c", y.Binary+" docker build --quiet --provenance=false --tag "+pulled+" --tag "+pushed+"0 - <<'END'\n"+layers("pulled")+"END\n"))
	y.must(y.Docker(ctx, "push", "--quiet", pulled))
	y.must(y.Docker(ctx, "tag", pulled, "crash-push"))
	y.must(y.Docker(ctx, "rmi", pulled, pushed+"0"))
	y.must(y.Docker(ctx, "run", "--detach", "--name", "holder", "boxyard/base", "sleep", "36000"))
}

// layers is a Dockerfile of three layers that no other has.
func layers(of string) string {
	return "FROM boxyard/base\nRUN echo " + of + " > /of\nRUN dd if=/dev/urandom of=/one bs=1M count=12\nRUN dd if=/dev/urandom of=/two bs=1M count=12\n"
}

func (y yard) operations() []operation {
	ctx := y.t.Context()
	docker := func(args ...string) harness.Command {
		return harness.Command{Name: y.Binary, Args: append([]string{"docker"}, args...)}
	}
	reads := func(image string, want string) error {
		out, err := y.Docker(ctx, "run", "--rm", "--network", "none", image, "cat", "/of")
		if err == nil && strings.TrimSpace(out) != want {
			err = fmt.Errorf("%s has %q", image, out)
		}
		return err
	}
	// What is not there need not be removed.
	remove := func(images ...string) {
		_, _ = y.Docker(ctx, append([]string{"rmi", "--force"}, images...)...)
	}
	compose := func(args ...string) harness.Command {
		return docker(append([]string{"compose", "--file", crashFiles + "/compose/compose.yaml"}, args...)...)
	}
	return []operation{
		{
			name: "build",
			start: func(n int) harness.Command {
				c := docker("build", "--progress=plain", "--tag", fmt.Sprintf("crash-build:%d", n), "-")
				c.Stdin = strings.NewReader(layers(fmt.Sprintf("built-%d-%d", n, time.Now().UnixNano())))
				return c
			},
			kept: func(n int) error {
				image := fmt.Sprintf("crash-build:%d", n)
				_, err := y.Docker(ctx, "run", "--rm", "--network", "none", image, "sh", "-c", "grep -q built-"+strconv.Itoa(n)+"- /of && test $(stat -c %s /two) = 12582912")
				return err
			},
			clean: func(n int) { remove(fmt.Sprintf("crash-build:%d", n)) },
		},
		{
			name:  "pull",
			start: func(int) harness.Command { return docker("pull", pulled) },
			kept:  func(int) error { return reads(pulled, "pulled") },
			again: true,
			clean: func(int) { remove(pulled) },
		},
		{
			name: "push",
			start: func(n int) harness.Command {
				image := pushed + strconv.Itoa(n)
				return harness.Command{Name: "sh", Args: []string{"-c", y.Binary + " docker build --quiet --provenance=false --tag " + image + " - <<'END' && " +
					y.Binary + " docker push " + image + "\nFROM crash-push\nRUN dd if=/dev/urandom of=/three bs=1M count=16\nEND\n"}}
			},
			// From the registry alone: nothing of it is here any more.
			kept: func(n int) error {
				image := pushed + strconv.Itoa(n)
				remove(image)
				if _, err := y.Docker(ctx, "builder", "prune", "--all", "--force"); err != nil {
					return err
				}
				if _, err := y.Docker(ctx, "pull", "--quiet", image); err != nil {
					return err
				}
				_, err := y.Docker(ctx, "run", "--rm", "--network", "none", image, "sh", "-c", "test $(stat -c %s /three) = 16777216")
				return err
			},
			again: true,
			clean: func(n int) { remove(pushed + strconv.Itoa(n)) },
		},
		{
			name: "cp",
			start: func(n int) harness.Command {
				return docker("cp", crashFiles+"/file", fmt.Sprintf("holder:/copy-%d", n))
			},
			kept: func(n int) error {
				want, err1 := y.Run(ctx, "sha256sum", crashFiles+"/file")
				got, err2 := y.Docker(ctx, "exec", "holder", "sha256sum", fmt.Sprintf("/copy-%d", n))
				if err := errors.Join(err1, err2); err != nil {
					return err
				}
				if strings.Fields(got)[0] != strings.Fields(want)[0] {
					return fmt.Errorf("%s, want %s", got, want)
				}
				return nil
			},
			again: true,
			clean: func(n int) { y.must(y.Docker(ctx, "exec", "holder", "rm", "-f", fmt.Sprintf("/copy-%d", n))) },
		},
		{
			name:  "compose up",
			start: func(int) harness.Command { return compose("up", "--detach") },
			kept: func(int) error {
				out, err := y.Docker(ctx, "compose", "--file", crashFiles+"/compose/compose.yaml", "ps", "--status", "running", "--quiet")
				if err == nil && len(strings.Fields(out)) != 2 {
					err = fmt.Errorf("running: %q", out)
				}
				return err
			},
			again: true,
			clean: func(int) {
				y.must(y.Docker(ctx, "compose", "--file", crashFiles+"/compose/compose.yaml", "down", "--volumes", "--remove-orphans"))
			},
		},
	}
}
