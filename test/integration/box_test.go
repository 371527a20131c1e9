//go:build integration

package integration

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// box is an instance in the hands of one test: what goes wrong fails that test.
type box struct {
	*harness.Instance
	t *testing.T
}

func newBox(t *testing.T, opts harness.Options) box {
	t.Helper()
	return box{Instance: harness.New(t, opts), t: t}
}

// up starts the platform, or finds it running.
func (b box) up(extra ...string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 60*time.Second)
	defer cancel()
	result, err := b.Up(ctx, extra...)
	if err != nil {
		b.t.Fatal(err)
	}
	if result.Code != 0 {
		b.t.Fatalf("boxyard up: exit code %d\n%s", result.Code, result.Output())
	}
	b.t.Logf("up took %v", result.Took.Round(10*time.Millisecond))
	return result.Output()
}

// upFails expects `up` to refuse, quickly, with this exit code and these words.
func (b box) upFails(code int, words ...string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	result, err := b.Up(ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	b.refused(result, code, words...)
	if left, err := b.Part("boxyard"); err != nil || len(left) > 0 {
		b.t.Errorf("a daemon runs after the refusal: %v, %v", left, err)
	}
}

func (b box) refused(result harness.Result, code int, words ...string) {
	b.t.Helper()
	if result.Code != code {
		b.t.Errorf("exit code %d, want %d", result.Code, code)
	}
	for _, word := range words {
		if !strings.Contains(result.Stderr, word) {
			b.t.Errorf("stderr lacks %q", word)
		}
	}
	if strings.Contains(result.Stderr, "goroutine ") || strings.Contains(result.Stderr, "panic") {
		b.t.Error("a stack trace is no message")
	}
	if b.t.Failed() {
		b.t.Logf("it said:\n%s", result.Output())
	}
}

func (b box) must(out string, err error) string {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (b box) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.t.Context(), 90*time.Second)
}

func (b box) boxyard(args ...string) string {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	return b.must(b.Boxyard(ctx, args...))
}

func (b box) docker(args ...string) string {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	return b.must(b.Docker(ctx, args...))
}

func (b box) kubectl(args ...string) string {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	return b.must(b.Kubectl(ctx, args...))
}

func (b box) sh(script string) string {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	return b.must(b.Run(ctx, "sh", "-c", script))
}

// build makes an image from a Dockerfile without a context.
func (b box) build(tag, dockerfile string) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{Name: b.Binary, Args: []string{"docker", "build", "--tag", tag, "-"}, Stdin: strings.NewReader(dockerfile)})
	if err != nil {
		b.t.Fatal(err)
	}
	if result.Code != 0 {
		b.t.Fatalf("docker build: exit code %d\n%s", result.Code, result.Output())
	}
}

// compile makes a static program of a package of ours.
func (b box) compile(program, source string) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), "go", "build", "-o", program, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("build %s: %v\n%s", source, err, out)
	}
}

// server is an image of about a megabyte of its own that serves its version over HTTP.
func server(version string) string {
	return `FROM boxyard/base
RUN mkdir /www && echo ` + version + ` > /www/index.html && dd if=/dev/urandom of=/www/ballast bs=1024 count=1024
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
`
}

// eventually polls until check gives nil; it fails the test with the last error after the limit.
func (b box) eventually(limit time.Duration, what string, check func() error) {
	b.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ready waits until every part is.
func (b box) ready(limit time.Duration, when string) {
	b.t.Helper()
	start := time.Now()
	b.eventually(limit, "every part is ready "+when, func() error {
		status, err := b.Status(b.t.Context())
		if err != nil {
			return err
		}
		if !status.Ready {
			return fmt.Errorf("%+v", status.Components)
		}
		return nil
	})
	b.t.Logf("%s: ready after %v", when, time.Since(start).Round(10*time.Millisecond))
}

// succeeded waits after a kill for another process of the part, and until every part is ready.
func (b box) succeeded(part string, killed int) {
	b.t.Helper()
	b.eventually(30*time.Second, "another process of "+part+" runs", func() error {
		if pid := b.status().PIDOf(part); pid == 0 || pid == killed {
			return fmt.Errorf("pid %d", pid)
		}
		return nil
	})
	b.ready(30*time.Second, "after kill -9 of "+part)
}

// deploy makes a Deployment with a Service, from an image that exists, and waits for it.
func (b box) deploy(name, image string, replicas int) {
	b.t.Helper()
	b.kubectl("create", "deployment", name, "--image="+image, fmt.Sprintf("--replicas=%d", replicas))
	b.kubectl("expose", "deployment", name, "--port=80", "--target-port=8080")
	b.rolledOut(name)
}

func (b box) rolledOut(name string) {
	b.t.Helper()
	b.kubectl("rollout", "status", "deployment/"+name, "--timeout=60s")
}

// serves expects the Service to answer with the text.
func (b box) serves(name, text string) {
	b.t.Helper()
	ip := b.kubectl("get", "service", name, "-o", "jsonpath={.spec.clusterIP}")
	b.answers("http://"+ip+"/", text)
}

func (b box) answers(url, text string) {
	b.t.Helper()
	b.eventually(30*time.Second, url+" answers", func() error {
		code, body, err := b.Get(b.t.Context(), url)
		if err != nil {
			return err
		}
		if code != 200 || !strings.Contains(body, text) {
			return fmt.Errorf("status %d: %s", code, body)
		}
		return nil
	})
}

// podPID is the process of the first container of a Deployment's first pod.
func (b box) podPID(deployment string) string {
	b.t.Helper()
	processes, err := b.Processes()
	if err != nil {
		b.t.Fatal(err)
	}
	uid := b.kubectl("get", "pods", "-l", "app="+deployment, "-o", "jsonpath={.items[0].metadata.uid}")
	// The oldest: another may be what somebody executes there.
	slices.SortFunc(processes, func(a, b harness.Process) int { return cmp.Compare(a.PID, b.PID) })
	for _, p := range processes {
		cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
		if err == nil && strings.Contains(string(cgroup), uid) && p.Name != "pause" {
			return fmt.Sprint(p.PID)
		}
	}
	b.t.Fatalf("no process of %s (pod %s) found", deployment, uid)
	return ""
}

func (b box) containerPID(name string) string {
	b.t.Helper()
	return b.docker("inspect", "--format", "{{.State.Pid}}", name)
}

func (b box) json(into any, text string) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		b.t.Fatalf("%v in:\n%s", err, text)
	}
}

// example is the directory of the example application, with its compiled binaries.
func example(t *testing.T) string {
	t.Helper()
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(repo, "examples", "hello")
	if _, err := os.Stat(filepath.Join(dir, "bin", "web")); err != nil {
		t.Fatalf("%v; try: make examples", err)
	}
	return dir
}
