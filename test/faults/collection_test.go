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

// TestCollection forces the kubelet's collection of images, by a limit that the disk is above already. It removes what
// was pulled and nobody uses, and that frees the disk; it keeps what was made here, and what a pod, a pod that crashes,
// a Deployment without replicas or a container of Docker needs.
func TestCollection(t *testing.T) {
	y := start(t, harness.Options{Config: "disk: {limitPercent: 6}\n"})
	y.must(y.Boxyard(t.Context(), "registry", "on"))
	const registry = "localhost:5000/"
	pulled := []string{"unused", "running", "crashing", "waiting", "docker"}
	for _, name := range pulled {
		y.must(y.Run(t.Context(), "sh", "-c", fmt.Sprintf(`set -e
%[1]s docker build --quiet --tag %[2]s - <<'END'
FROM boxyard/base
RUN dd if=/dev/urandom of=/ballast bs=1M count=8; echo %[2]s >/name
END
%[1]s docker push --quiet %[2]s
%[1]s docker rmi --force %[2]s`, y.Binary, registry+name+":1")))
	}
	// Builds keep what they made; without it, the images are pulled as anybody's are.
	y.must(y.Docker(t.Context(), "builder", "prune", "--all", "--force"))
	y.must(y.Docker(t.Context(), "buildx", "history", "rm", "--all"))
	y.must(y.Run(t.Context(), "sh", "-c", y.Binary+" docker build --quiet --tag made-here - <<'END'\nFROM boxyard/base\nRUN echo here >/name\nEND\n"))

	y.must(y.Kubectl(t.Context(), "run", "once", "--image="+registry+"unused:1", "--restart=Never", "--", "true"))
	y.must(y.Kubectl(t.Context(), "wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"))
	y.must(y.Kubectl(t.Context(), "delete", "pod", "once", "--now"))
	y.must(y.Kubectl(t.Context(), "run", "running", "--image="+registry+"running:1", "--", "sleep", "86400"))
	y.must(y.Kubectl(t.Context(), "wait", "pod/running", "--for=condition=Ready", "--timeout=60s"))
	y.must(y.Kubectl(t.Context(), "run", "crashing", "--image="+registry+"crashing:1", "--", "false"))
	y.must(y.Kubectl(t.Context(), "create", "deployment", "waiting", "--image="+registry+"waiting:1", "--", "sleep", "86400"))
	y.must(y.Kubectl(t.Context(), "rollout", "status", "deployment/waiting", "--timeout=60s"))
	y.must(y.Kubectl(t.Context(), "scale", "deployment", "waiting", "--replicas=0"))
	y.must(y.Docker(t.Context(), "create", "--name", "stopped", registry+"docker:1"))

	before := y.imageBytes()
	// The kubelet looks every five minutes, and leaves alone what it has seen for less than two: so the second look counts.
	y.poll(13*time.Minute, "the unused image is gone", func() error {
		if y.has(registry + "unused:1") {
			return errors.New("it is there")
		}
		return nil
	})
	for _, name := range pulled[1:] {
		if !y.has(registry + name + ":1") {
			t.Errorf("%s is gone", name)
		}
	}
	for _, name := range []string{"made-here", "boxyard/base"} {
		if !y.has(name) {
			t.Errorf("%s is gone", name)
		}
	}
	y.poll(time.Minute, "its disk is free", func() error {
		if freed := before - y.imageBytes(); freed < 8<<20 {
			return fmt.Errorf("only %d bytes are", freed)
		}
		return nil
	})
	y.must(y.Boxyard(t.Context(), "registry", "off")) // what comes now is here, or nowhere
	y.must(y.Kubectl(t.Context(), "scale", "deployment", "waiting", "--replicas=1"))
	y.must(y.Kubectl(t.Context(), "rollout", "status", "deployment/waiting", "--timeout=60s"))
	y.must(y.Docker(t.Context(), "run", "--rm", "made-here", "cat", "/name"))
}

func (y yard) has(image string) bool {
	y.t.Helper()
	return strings.TrimSpace(y.must(y.Docker(y.t.Context(), "images", "--quiet", image))) != ""
}

// imageBytes is what images use of the disk.
func (y yard) imageBytes() int64 {
	y.t.Helper()
	var report struct {
		Uses []struct {
			Name  string `json:"name"`
			Bytes int64  `json:"bytes"`
		} `json:"uses"`
	}
	if err := json.Unmarshal([]byte(y.must(y.Boxyard(y.t.Context(), "df", "-o", "json"))), &report); err != nil {
		y.t.Fatal(err)
	}
	for _, use := range report.Uses {
		if use.Name == "images" {
			return use.Bytes
		}
	}
	y.t.Fatal("df has no images")
	return 0
}
