//go:build faults

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// many is how many replicas the death of their shim ends at once.
const many = 20

// TestShimKilled kills the one shim of all containers, a few times, and expects that whatever is to run runs again,
// that what is not is known to have ended, and that nothing of the old ones is left.
func TestShimKilled(t *testing.T) {
	y := yard{Instance: harness.New(t, harness.Options{}), t: t}
	y.prepare()
	y.must(y.Docker(t.Context(), "update", "--restart=always", "web"))
	y.must(y.Docker(t.Context(), "run", "--detach", "--name", "mortal", "hello:v1"))
	y.must(y.Kubectl(t.Context(), "scale", "deployment/web", fmt.Sprint("--replicas=", many)))
	y.must(y.Kubectl(t.Context(), "rollout", "status", "deployment/web", "--timeout=120s"))
	for round := range 3 {
		shims, err := y.Part(shim)
		if err != nil {
			t.Fatal(err)
		}
		if len(shims) != 1 {
			t.Fatalf("there is not one shim but %v", shims)
		}
		before := y.pods()
		y.must(y.Docker(t.Context(), "start", "mortal"))
		if n, err := y.Kill(shim); n != 1 || err != nil {
			t.Fatalf("killed %d shims: %v", n, err)
		}
		y.poll(2*time.Minute, fmt.Sprintf("round %d: all replicas run in new containers", round), func() error {
			return ranAgain(before, y.pods())
		})
		y.poll(time.Minute, "Docker's container runs again, and the one that is not to be restarted has ended", func() error {
			out, err := y.Docker(t.Context(), "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web", "mortal")
			if want := "running 0\nexited 137"; err == nil && strings.TrimSpace(out) != want {
				err = fmt.Errorf("they are %q", out)
			}
			return err
		})
		for name, url := range y.addresses {
			if name == "container by IP" || name == "Service by name" {
				continue // the one has changed, the other is for those that ask our DNS
			}
			y.poll(time.Minute, name+" answers", func() error {
				status, body, err := y.Get(t.Context(), url)
				if err == nil && status != 200 {
					err = fmt.Errorf("%d %s", status, body)
				}
				return err
			})
		}
	}
	// Each replica and its sandbox, and `web`, whose file system dockerd mounts elsewhere.
	const pods, containers = 2 * many, 2*many + 1
	y.poll(time.Minute, "no bundle of an old container is left", func() error {
		var errs []error
		for _, left := range []struct {
			what, script string
			count        int
		}{
			{"bundles", "ls -d /run/boxyard/containerd/io.containerd.runtime.v2.task/*/* | wc -l", containers},
			{"mounts", "grep -c io.containerd.runtime.v2.task/.*/rootfs /proc/self/mountinfo", pods},
			{"states of runc", "ls -d /run/boxyard/containerd/runc/*/* /run/boxyard/dockerd/*/*/* /run/docker/*/*/* 2>/dev/null | grep -c runc", containers},
		} {
			out, err := y.Run(t.Context(), "sh", "-c", left.script)
			if err == nil && strings.TrimSpace(out) != fmt.Sprint(left.count) {
				err = fmt.Errorf("%s: %s, not %d", left.what, strings.TrimSpace(out), left.count)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	y.must(y.Boxyard(t.Context(), "down"))
	if shims, err := y.Part(shim); err != nil || len(shims) != 0 {
		t.Errorf("after `down` there are shims: %v, %v", shims, err)
	}
}

const shim = "containerd-shim-runc-v2"

// pods are the replicas by name: the number of restarts of each, or -1 if it is not Ready.
func (y yard) pods() map[string]int {
	y.t.Helper()
	out := y.must(y.Kubectl(y.t.Context(), "get", "pods", "--selector=app=web", "--output=json"))
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Status   struct {
				ContainerStatuses []struct {
					Ready        bool
					RestartCount int
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		y.t.Fatal(err)
	}
	all := map[string]int{}
	for _, p := range list.Items {
		all[p.Metadata.Name] = -1
		if s := p.Status.ContainerStatuses; len(s) == 1 && s[0].Ready {
			all[p.Metadata.Name] = s[0].RestartCount
		}
	}
	return all
}

func ranAgain(before, after map[string]int) error {
	if len(after) != len(before) {
		return fmt.Errorf("%d replicas, not %d", len(after), len(before))
	}
	for name, restarts := range after {
		if restarts < 0 {
			return fmt.Errorf("%s is not Ready", name)
		}
		if was, ok := before[name]; ok && restarts == was {
			return fmt.Errorf("%s runs on", name)
		}
	}
	return nil
}
