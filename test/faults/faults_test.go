//go:build faults

package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/load"
)

const (
	away     = 10 * time.Second // how long a killed part is kept from coming back
	comeback = 15 * time.Second // how long everything then has to be Ready
	rate     = 100              // requests per second to the container, and to the Deployment, at least
)

// yard is the platform under fault, with what requests go to.
type yard struct {
	*harness.Instance
	t         *testing.T
	addresses map[string]string // name of a load series -> URL
}

// TestKillMatrix is one load test for each part killed, and one for all at once.
func TestKillMatrix(t *testing.T) {
	in := harness.New(t, harness.Options{})
	y := yard{Instance: in, t: t}
	y.prepare()
	all := []string{"containerd", "dockerd", "cluster", "dns"}
	for _, parts := range [][]string{{"containerd"}, {"dockerd"}, {"cluster"}, {"dns"}, all} {
		t.Run(strings.Join(parts, "+"), func(t *testing.T) {
			yard{Instance: in, t: t, addresses: y.addresses}.strike(parts)
		})
	}
}

// prepare starts a Docker container and a Deployment of three replicas that log 1 KiB for
// each request, and finds where they are reached.
func (y *yard) prepare() {
	y.t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		y.t.Fatal(err)
	}
	dir := filepath.Join(repo, "examples", "hello")
	if _, err := os.Stat(filepath.Join(dir, "bin", "web")); err != nil {
		y.t.Fatalf("%v; try: make examples", err)
	}
	result, err := y.Up(y.t.Context())
	if err != nil || result.Code != 0 {
		y.t.Fatalf("up: %v\n%s", err, result.Output())
	}
	y.must(y.Docker(y.t.Context(), "build", "--tag", "hello:v1", dir))
	y.must(y.Docker(y.t.Context(), "run", "--detach", "--name", "web", "--publish", "8081:8080", "--env", "LOG_BYTES=1024", "hello:v1"))
	y.must(y.Kubectl(y.t.Context(), "create", "deployment", "web", "--image=hello:v1", "--replicas=3"))
	y.must(y.Kubectl(y.t.Context(), "set", "env", "deployment/web", "LOG_BYTES=1024"))
	y.must(y.Kubectl(y.t.Context(), "expose", "deployment", "web", "--port=80", "--target-port=8080", "--type=NodePort"))
	y.must(y.Kubectl(y.t.Context(), "rollout", "status", "deployment/web", "--timeout=60s"))
	y.poll(time.Minute, "the pods from before the change are gone", func() error {
		out, err := y.Kubectl(y.t.Context(), "get", "pods", "--selector=app=web", "--output=name")
		if n := len(strings.Fields(out)); err == nil && n != 3 {
			err = fmt.Errorf("there are %d", n)
		}
		return err
	})
	clusterIP := y.must(y.Kubectl(y.t.Context(), "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}"))
	nodePort := y.must(y.Kubectl(y.t.Context(), "get", "service", "web", "-o", "jsonpath={.spec.ports[0].nodePort}"))
	containerIP := y.must(y.Docker(y.t.Context(), "inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web"))
	y.addresses = map[string]string{
		"Service by IP":       "http://" + clusterIP + "/api/hello",
		"Service by name":     "http://web.default.svc.cluster.local/api/hello",
		"Service by NodePort": "http://10.42.0.1:" + nodePort + "/api/hello",
		"container by IP":     "http://" + containerIP + ":8080/api/hello",
		"container by port":   "http://127.0.0.1:8081/api/hello",
	}
}

// strike kills the parts under load, keeps them away, and holds the platform to its promises.
func (y yard) strike(parts []string) {
	y.t.Helper()
	y.must(y.Docker(y.t.Context(), "rm", "--force", "short"))
	y.must(y.Docker(y.t.Context(), "run", "--detach", "--name", "short", "--restart", "always", "boxyard/base", "sleep", "3600"))
	shortPID := y.must(y.Docker(y.t.Context(), "inspect", "--format", "{{.State.Pid}}", "short"))
	objects := y.state()

	stop := y.startLoad()
	y.wait(2 * time.Second)
	y.keepAway(parts, func() { y.must(y.Run(y.t.Context(), "kill", "-9", shortPID)) })
	allowed := time.Now()
	y.poll(comeback, "every part is Ready again", func() error {
		status, err := y.Status(y.t.Context())
		if err == nil && !status.Ready {
			err = fmt.Errorf("%+v", status.Components)
		}
		return err
	})
	y.t.Logf("Ready again %v after being allowed back", time.Since(allowed).Round(10*time.Millisecond))
	y.poll(10*time.Second, "the container that ended meanwhile was restarted", func() error {
		out, err := y.Docker(y.t.Context(), "inspect", "--format", "{{.State.Running}} {{.State.Pid}}", "short")
		if err == nil && (!strings.HasPrefix(out, "true") || strings.Contains(out, shortPID)) {
			err = errors.New(out)
		}
		return err
	})
	y.wait(2 * time.Second)
	y.judge(parts, stop())
	if after := y.state(); after != objects {
		y.t.Errorf("state differs:\n%s\nbefore:\n%s", after, objects)
	}
}

// keepAway kills the parts, and whatever the supervisor starts in their place, until the time
// is over. meanwhile happens in the middle of it.
func (y yard) keepAway(parts []string, meanwhile func()) {
	y.t.Helper()
	start, done, killed := time.Now(), false, 0
	for time.Since(start) < away {
		for _, part := range parts {
			n, err := y.Kill(part)
			if err != nil {
				y.t.Fatal(err)
			}
			killed += n
		}
		if !done && time.Since(start) > away/2 {
			meanwhile()
			done = true
		}
		y.wait(50 * time.Millisecond)
	}
	if killed < len(parts) {
		y.t.Fatalf("only %d processes of %v were there to kill", killed, parts)
	}
	y.t.Logf("%v: killed %d times in %v", parts, killed, away)
}

// startLoad sends requests to every address in both modes until the returned function is called.
func (y yard) startLoad() (stop func() []load.Result) {
	ctx, cancel := context.WithCancel(y.t.Context())
	var mu sync.Mutex
	var results []load.Result
	var running sync.WaitGroup
	for name, url := range y.addresses {
		for _, mode := range []load.Mode{load.KeepAlive, load.New} {
			plan := load.Plan{
				Name: name + " " + string(mode), URL: url, Mode: mode, Rate: rate / 4, Duration: 2 * time.Minute,
				// A lookup whose packet was in the queue of the killed process is sent again by every resolver.
				LookupEach: true, Timeout: 15 * time.Second, DNS: "10.42.0.1:10053", Dial: y.Dial, Expect: `"version"`,
			}
			running.Go(func() {
				got, err := load.Run(ctx, plan)
				if err != nil {
					y.t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				results = append(results, got...)
			})
		}
	}
	return func() []load.Result {
		cancel()
		running.Wait()
		return results
	}
}

// judge keeps the raw results and fails the test for each series with a failed request.
func (y yard) judge(parts []string, results []load.Result) {
	y.t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		y.t.Fatal(err)
	}
	dir := filepath.Join(repo, "build", "faults")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		y.t.Fatal(err)
	}
	file := filepath.Join(dir, strings.Join(parts, "+")+".csv")
	if err := load.WriteFile(file, results); err != nil {
		y.t.Fatal(err)
	}
	series := make(map[string][]load.Result)
	for _, r := range results {
		series[r.Series] = append(series[r.Series], r)
	}
	for _, name := range slices.Sorted(maps.Keys(series)) {
		sum := load.Summarize(series[name])
		y.t.Logf("%-30s %v", name, sum)
		if sum.Failed > 0 {
			y.t.Errorf("%s: %d of %d requests failed; see %s", name, sum.Failed, sum.Sent, file)
		}
	}
	if len(series) != 2*len(y.addresses) {
		y.t.Errorf("%d series of load, want %d", len(series), 2*len(y.addresses))
	}
}

// state is what must be the same before and after: objects, and who runs.
func (y yard) state() string {
	y.t.Helper()
	pods := y.must(y.Kubectl(y.t.Context(), "get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}"))
	services := y.must(y.Kubectl(y.t.Context(), "get", "services,deployments", "-A", "-o", "name"))
	images := strings.Fields(y.must(y.Docker(y.t.Context(), "images", "--quiet", "--no-trunc")))
	slices.Sort(images)
	web := y.must(y.Docker(y.t.Context(), "inspect", "--format", "{{.Id}} {{.State.Pid}}", "web"))
	return strings.Join([]string{pods, services, strings.Join(slices.Compact(images), " "), web}, "\n")
}

func (y yard) must(out string, err error) string {
	y.t.Helper()
	if err != nil {
		y.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (y yard) wait(length time.Duration) {
	select {
	case <-y.t.Context().Done():
	case <-time.After(length):
	}
}

func (y yard) poll(limit time.Duration, what string, check func() error) {
	y.t.Helper()
	start := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Since(start) > limit {
			y.t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		y.wait(100 * time.Millisecond)
	}
}
