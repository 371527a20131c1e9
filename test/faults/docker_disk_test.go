//go:build faults

package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestDiskFullUnderDocker: a pull and a run on a full disk fail with the reason, leave nothing, and succeed once there
// is space again.
func TestDiskFullUnderDocker(t *testing.T) {
	const disk = "/var/lib/boxyard/containerd"
	options := onDiskOf(300, disk)
	options.Config = "without: [cluster]\n"
	y := start(t, options)
	y.prepareCrashes()
	ctx := t.Context()
	y.must(y.Docker(ctx, "rmi", "crash-push")) // it has what is pulled
	if err := y.prune(); err != nil {
		t.Fatal(err)
	}
	run := []string{"run", "--rm", "--network", "none", "boxyard/base", "sh", "-c", "dd if=/dev/zero of=/large bs=1M count=4 && echo written"}
	y.must(y.Docker(ctx, run...))
	before, err := y.belongings()
	if err != nil {
		t.Fatal(err)
	}
	// What was pruned is collected some time later, and must not make room again.
	var free func()
	y.poll(time.Minute, "the disk stays full", func() error {
		free = y.fill(disk)
		y.wait(2 * time.Second)
		if left := strings.TrimSpace(y.must(y.Run(ctx, "sh", "-c", "df -B1 --output=avail "+disk+" | tail -1"))); left != "0" {
			return fmt.Errorf("%s bytes are free again", left)
		}
		return nil
	})
	for name, args := range map[string][]string{"pull": {"pull", pulled}, "run": run} {
		result, err := y.Exec(ctx, harness.Command{Name: y.Binary, Args: append([]string{"docker"}, args...)})
		if err != nil || result.Code == 0 || !strings.Contains(strings.ToLower(result.Output()), "no space left") {
			t.Errorf("docker %s on a full disk: %v, exit code %d\n%s", name, err, result.Code, result.Output())
		}
	}
	if out := y.must(y.Docker(ctx, "exec", "holder", "echo", "goes on")); !strings.Contains(out, "goes on") {
		t.Errorf("a container that ran before: %q", out)
	}
	free()
	y.isReady(time.Minute, "with space again")
	y.must(y.Docker(ctx, run...))
	y.must(y.Docker(ctx, "pull", pulled))
	y.must(y.Docker(ctx, "rmi", pulled))
	y.poll(time.Minute, "there is no more than before", func() error { return y.hasNoMore(before) })
}

// TestLargeContext: a context of 2 GiB arrives whole, and what .dockerignore names is not sent.
func TestLargeContext(t *testing.T) {
	y := start(t, harness.Options{Config: "without: [cluster]\n"})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Dockerfile":    "FROM boxyard/base\nCOPY . /context/\nRUN test $(stat -c %s /context/large) = 2147483648 && test ! -e /context/ignored && cat /context/end\n",
		".dockerignore": "ignored\n", "end": "of the context\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"large", "ignored"} {
		if err := errors.Join(os.WriteFile(filepath.Join(dir, name), nil, 0o644), os.Truncate(filepath.Join(dir, name), 2<<30)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	result, err := y.Exec(t.Context(), harness.Command{Name: y.Binary, Args: []string{"docker", "build", "--progress=plain", "--tag", "large", dir}})
	if err != nil || result.Code != 0 || !strings.Contains(result.Output(), "of the context") {
		t.Fatalf("%v, exit code %d\n%s", err, result.Code, result.Output())
	}
	t.Logf("built after %v", time.Since(began).Round(time.Second))
	y.must(y.Docker(t.Context(), "rmi", "large"))
	if err := y.prune(); err != nil {
		t.Error(err)
	}
	y.poll(time.Minute, "its disk is free again", func() error {
		out, err := y.Run(t.Context(), "du", "--summarize", "--block-size=1M", "/var/lib/boxyard/containerd")
		var mib int
		if _, scanErr := fmt.Sscan(out, &mib); err != nil || scanErr != nil || mib > 500 {
			return fmt.Errorf("%s, %w", out, errors.Join(err, scanErr))
		}
		return nil
	})
}
