//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// kubectlTools: everything that goes through the kubelet to a container and back.
func kubectlTools(b box) {
	b.kubectl("run", "tool", "--image=boxyard/base", "--restart=Never", "--command", "--",
		"sh", "-c", "mkdir -p /www; echo page > /www/index.html; httpd -p 8080 -h /www; while true; do echo tick; sleep 0.2; done")
	defer b.kubectl("delete", "pod", "tool", "--now")
	b.kubectl("wait", "pod/tool", "--for=condition=Ready", "--timeout=60s")

	b.eventually(10*time.Second, "kubectl logs", func() error {
		out, err := b.Kubectl(b.t.Context(), "logs", "tool", "--tail=1")
		if err == nil && !strings.Contains(out, "tick") {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
	if out := b.kubectl("exec", "tool", "--", "sh", "-c", "echo in $HOSTNAME"); out != "in tool" {
		b.t.Errorf("kubectl exec: %q", out)
	}
	result, err := b.Exec(b.t.Context(), harness.Command{
		Name: b.Binary, Args: []string{"kubectl", "exec", "-i", "tool", "--", "sh", "-c", "cat; exit 5"}, Stdin: strings.NewReader("through stdin"),
	})
	if err != nil || result.Code != 5 || result.Stdout != "through stdin" {
		b.t.Errorf("kubectl exec -i: %v, exit code %d, %q", err, result.Code, result.Stdout)
	}
	b.whileRunning("kubectl attach", []string{"attach", "tool"}, func(out string) error {
		if !strings.Contains(out, "tick") {
			return errors.New("nothing of the container's output")
		}
		return nil
	})
	copyInAndOut(b)
	portForward(b)
	if out := b.kubectl("debug", "tool", "--image=boxyard/base", "--attach=true", "--quiet", "--target=tool", "--", "sh", "-c", "sleep 1; ps; sleep 1"); !strings.Contains(out, "httpd -p 8080") {
		b.t.Errorf("kubectl debug does not see the processes of its target: %q", out)
	}
}

// copyInAndOut sends a file through kubectl cp and back.
func copyInAndOut(b box) {
	dir := b.t.TempDir()
	from, back := filepath.Join(dir, "from"), filepath.Join(dir, "back")
	if err := os.WriteFile(from, []byte(strings.Repeat("copied\n", 10000)), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.kubectl("cp", from, "tool:/tmp/file")
	b.kubectl("cp", "tool:/tmp/file", back)
	want, _ := os.ReadFile(from)
	if got, err := os.ReadFile(back); err != nil || string(got) != string(want) {
		b.t.Errorf("kubectl cp brought back %d bytes of %d: %v", len(got), len(want), err)
	}
}

func portForward(b box) {
	listening := regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+)`)
	b.whileRunning("kubectl port-forward", []string{"port-forward", "pod/tool", ":8080"}, func(out string) error {
		match := listening.FindStringSubmatch(out)
		if match == nil {
			return errors.New("it does not listen yet: " + out)
		}
		code, body, err := b.Get(b.t.Context(), "http://"+match[1]+"/")
		if err == nil && (code != 200 || !strings.Contains(body, "page")) {
			err = fmt.Errorf("status %d: %s", code, body)
		}
		return err
	})
}

// whileRunning starts a kubectl command that does not end by itself, waits until check is
// content with its output, and ends it.
func (b box) whileRunning(what string, args []string, check func(out string) error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	var out lockedBuffer
	cmd := b.Prepare(ctx, harness.Command{Name: b.Binary, Args: append([]string{"kubectl"}, args...)})
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := b.StartProcess(cmd); err != nil {
		b.t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	b.eventually(20*time.Second, what, func() error { return check(out.String()) })
}

func url(b box) {
	b.build("addressed:1", server("one"))
	b.deploy("addressed", "addressed:1", 1)
	defer b.kubectl("delete", "deployment,service", "addressed")
	urls := strings.Fields(b.boxyard("url", "svc/addressed"))
	reached := 0
	for _, address := range urls {
		if strings.HasPrefix(address, "http://") && !strings.Contains(address, ".local") && !strings.Contains(address, "localhost") {
			b.answers(address, "one")
			reached++
		}
	}
	if reached == 0 {
		b.t.Errorf("no address in %q", urls)
	}
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"url", "svc/nonsense"}})
	if err != nil || result.Code != 1 || !strings.Contains(result.Stderr, "nonsense") {
		b.t.Errorf("url of an unknown Service: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
}
