//go:build integration

package integration

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

func dockerBuildAndRun(b box) {
	b.build("served:1", server("one"))
	defer b.docker("rm", "--force", "--volumes", "served")
	b.docker("run", "--detach", "--name", "served", "--publish", "127.0.0.1:8081:8080", "served:1")
	b.answers("http://127.0.0.1:8081/", "one")
	if out := b.docker("exec", "served", "hostname"); len(out) != 12 {
		b.t.Errorf("hostname in the container: %q", out)
	}
	if out := b.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", "served"); !strings.Contains(out, "iB / ") || strings.HasPrefix(out, "0B") {
		b.t.Errorf("docker stats: %q", out)
	}
	if out := b.docker("run", "--rm", "boxyard/base", "sh", "-c", "echo out; echo err >&2"); out != "out" {
		b.t.Errorf("docker run printed %q", out)
	}
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"docker", "run", "--rm", "boxyard/base", "sh", "-c", "exit 42"}})
	if err != nil || result.Code != 42 {
		b.t.Errorf("exit code %d of a container that exits with 42: %v", result.Code, err)
	}
	if out := b.docker("ps", "--all", "--format", "{{.Names}}"); strings.Contains(out, "k8s") || strings.Contains(out, "pause") {
		b.t.Errorf("docker ps shows pods:\n%s", out)
	}
}

func dockerNamesAndVolumes(b box) {
	b.docker("network", "create", "net1")
	defer b.docker("network", "rm", "net1")
	b.docker("run", "--detach", "--name", "back", "--network", "net1", "--volume", "vol1:/data", "boxyard/base",
		"sh", "-c", "echo kept > /data/file; httpd -f -p 8080 -h /data")
	defer b.docker("volume", "rm", "vol1")
	defer b.docker("rm", "--force", "back")
	b.eventually(20*time.Second, "a container finds the other by its name", func() error {
		_, err := b.Docker(b.t.Context(), "run", "--rm", "--network", "net1", "boxyard/base", "wget", "-qO-", "http://back:8080/file")
		return err
	})
	if out := b.docker("run", "--rm", "--volume", "vol1:/data", "boxyard/base", "cat", "/data/file"); out != "kept" {
		b.t.Errorf("the volume has %q", out)
	}
}

// dockerClients: a client finds the engine by its flags, its variable and its context.
func dockerClients(b box) {
	exe := "/var/lib/boxyard/bin/docker"
	for _, command := range []string{
		exe + " ps",
		exe + " -H unix:///run/boxyard/docker.sock ps",
		"DOCKER_HOST=unix:///var/run/docker.sock " + exe + " ps",
		b.Binary + " docker ps",
		exe + " --log-level=debug --tls=false ps",
		exe + " buildx version",
		exe + " compose version",
		b.Binary + " compose version",
		exe + " system info",
	} {
		result, err := b.Exec(b.t.Context(), harness.Command{Name: "sh", Args: []string{"-c", command}})
		if err != nil || result.Code != 0 {
			b.t.Errorf("%s: %v, exit code %d\n%s", command, err, result.Code, result.Output())
		}
	}
}

// swarmIsRefused with the words that docs/docker.md explains.
func swarmIsRefused(b box) {
	const words = "--live-restore daemon configuration is incompatible with swarm mode"
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"docker", "swarm", "init", "--advertise-addr", "127.0.0.1"}})
	if err != nil || result.Code == 0 || !strings.Contains(result.Output(), words) {
		b.t.Errorf("docker swarm init: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	guide, err := os.ReadFile("../../docs/docker.md")
	if err != nil || !strings.Contains(string(guide), words) {
		b.t.Errorf("docs/docker.md does not explain %q: %v", words, err)
	}
}

func exampleApplication(b box) {
	dir := example(b.t)
	b.docker("build", "--tag", "hello:v1", dir)
	b.docker("build", "--tag", "hello-store:v1", "--file", filepath.Join(dir, "Dockerfile.store"), dir)
	compose := []string{"compose", "--file", filepath.Join(dir, "compose.yaml")}
	b.docker(append(compose, "up", "--detach", "--wait")...)
	b.answers("http://127.0.0.1:8088/api/hello", "Hello from Compose")
	b.docker(append(compose, "down", "--volumes")...)
	b.kubectl("apply", "--filename", filepath.Join(dir, "k8s"))
	defer b.kubectl("delete", "namespace", "hello", "--timeout=60s")
	b.kubectl("--namespace", "hello", "rollout", "status", "deployment/web", "--timeout=60s")
	ip := b.kubectl("--namespace", "hello", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	b.answers("http://"+ip+"/", "Hello from Kubernetes")
}

// noSurpriseWithLatest: what was built without a tag runs without one, although Kubernetes
// pulls such an image at every start and no registry can be reached.
func noSurpriseWithLatest(b box) {
	b.build("surprise", server("one"))
	b.deploy("surprise", "surprise", 1)
	defer b.kubectl("delete", "deployment,service", "surprise")
	if policy := b.kubectl("get", "pods", "-l", "app=surprise", "-o", "jsonpath={.items[0].spec.containers[0].imagePullPolicy}"); policy != "Always" {
		b.t.Errorf("pull policy %q: Kubernetes' own default was changed", policy)
	}
	b.serves("surprise", "one")
	// Built again, it is the new one that starts.
	b.build("surprise", server("two"))
	b.kubectl("rollout", "restart", "deployment/surprise")
	b.rolledOut("surprise")
	b.eventually(30*time.Second, "the new image serves", func() error {
		b.serves("surprise", "two")
		return nil
	})
}

// diskUse: a pod of an image that is here costs no disk, and every blob is there once.
func diskUse(b box) {
	b.build("sized:1", server("one"))
	b.sh("sync")
	before := b.diskUsed()
	b.deploy("sized", "sized:1", 2)
	defer b.kubectl("delete", "deployment,service", "sized")
	b.sh("sync")
	// The image's own layer is more than a megabyte; what pods write about themselves is less.
	if grown := b.diskUsed() - before; grown > 800<<10 {
		b.t.Errorf("%d KiB of disk for two pods of an image that was there", grown>>10)
	}
	seen := make(map[string]string)
	err := filepath.WalkDir(b.DataPath(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Base(filepath.Dir(path)) != "sha256" {
			return nil //nolint:nilerr // files come and go
		}
		if first, ok := seen[entry.Name()]; ok {
			b.t.Errorf("one blob, two files: %s and %s", first, path)
		}
		seen[entry.Name()] = path
		return nil
	})
	if err != nil || len(seen) == 0 {
		b.t.Errorf("%d blobs found: %v", len(seen), err)
	}
}

// diskUsed is what the images take: etcd and the logs grow for reasons of their own.
func (b box) diskUsed() int64 {
	b.t.Helper()
	fields := strings.Fields(b.sh("du -sk --exclude=log /var/lib/boxyard/containerd"))
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return kib << 10
}

// prune: `docker system prune -a` takes nothing that pods need, though Docker sees no container of theirs.
func prune(b box) {
	b.build("pruned:1", server("one"))
	b.build("unused:1", server("three"))
	b.deploy("pruned", "pruned:1", 1)
	defer b.kubectl("delete", "deployment,service", "pruned")
	b.docker("system", "prune", "--all", "--volumes", "--force")

	b.serves("pruned", "one")
	b.kubectl("scale", "deployment/pruned", "--replicas=2") // a new pod of what is there
	b.rolledOut("pruned")
	b.sh("kill -9 " + b.podPID("pruned")) // a crash of what is there
	b.eventually(60*time.Second, "the crashed container was restarted", func() error {
		restarts := b.kubectl("get", "pods", "-l", "app=pruned", "-o", "jsonpath={.items[*].status.containerStatuses[0].restartCount}")
		if !strings.Contains(restarts, "1") {
			return fmt.Errorf("restarts: %s", restarts)
		}
		return nil
	})
	b.kubectl("wait", "pod", "-l", "app=pruned", "--for=condition=Ready", "--timeout=60s")
	images := b.docker("images", "--format", "{{.Repository}}:{{.Tag}}")
	if !strings.Contains(images, "boxyard/base:latest") {
		b.t.Errorf("the base image was pruned:\n%s", images)
	}
	if strings.Contains(images, "unused") {
		b.t.Errorf("an unused image was not pruned:\n%s", images)
	}
	b.docker("run", "--rm", "boxyard/base", "true")
	b.kubectl("run", "afterwards", "--image=boxyard/base", "--restart=Never", "--command", "--", "true") // needs pause
	defer b.kubectl("delete", "pod", "afterwards", "--now")
	b.kubectl("wait", "pod/afterwards", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
}

// lockedBuffer collects the output of a command that runs beside the test.
type lockedBuffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.data.String()
}
