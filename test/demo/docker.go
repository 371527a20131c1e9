package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// docker is the first half: one machine, one engine.
func (d *demo) docker() {
	d.buildImages()
	port := freePort(18080)
	page := fmt.Sprintf("http://127.0.0.1:%d/", port)
	d.runContainers(port, page)
	d.lookAtContainers()
	d.stopAndRestart(page)
	d.removeAndRunAgain(port, page)
	d.findByName()
	d.compose()
	d.removeThings()
}

func (d *demo) buildImages() {
	d.title("Docker: build from a Dockerfile of several stages, with BuildKit")
	d.run("docker", "build", "--no-cache", "--progress=plain", "--tag", "hello:v1", "examples/hello")
	d.timing("docker build, nothing cached", d.took, 0)
	d.run("docker", "build", "--quiet", "--tag", "hello-store:v1", "--file", "examples/hello/Dockerfile.store", "examples/hello")
	d.expect("docker images", d.run("docker", "images"), "hello", "hello-store", "boxyard/base")
}

// The first container publishes a port and has a variable and a bind mount, the second one a volume.
func (d *demo) runContainers(port int, page string) {
	d.title("Docker: run, with a port, a variable, a bind mount and a named volume")
	d.run("docker", "network", "create", "demo")
	d.runPair(port)
	body := d.fetch(page, "Hello from Docker", "Goods arrive daily", `id="version">v1<`)
	d.expect("the page", body, `id="count">1<`)
	d.fetch(page+"api/hello", `"count":2`)
}

func (d *demo) runPair(port int) {
	d.run("docker", "run", "--detach", "--name", "demo-store", "--network", "demo",
		"--volume", "demo-data:/data", "--env", "STORE_TOKEN=demo", "hello-store:v1")
	d.runWeb(port)
}

func (d *demo) runWeb(port int) {
	d.run("docker", "run", "--detach", "--name", "demo-web", "--network", "demo",
		"--publish", fmt.Sprintf("127.0.0.1:%d:8080", port),
		"--env", "GREETING=Hello from Docker", "--env", "STORE_URL=http://demo-store:8081", "--env", "STORE_TOKEN=demo",
		"--volume", filepath.Join(d.dir, "examples/hello/motd.txt")+":/etc/hello/motd.txt:ro", "hello:v1")
}

func (d *demo) lookAtContainers() {
	d.title("Docker: ps, logs, inspect, exec, stats")
	d.expect("docker ps", d.run("docker", "ps", "--format", `table {{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Ports}}`), "demo-web", "demo-store")
	d.expect("docker logs", d.run("docker", "logs", "demo-web"), "listening on port 8080", "GET / 200")
	d.expect("docker inspect", d.run("docker", "inspect", "--format", "{{.State.Status}} {{.Config.Image}} {{(index .Mounts 0).Destination}}", "demo-web"), "running hello:v1 /etc/hello/motd.txt")
	d.expect("docker exec", d.run("docker", "exec", "demo-web", "cat", "/etc/hello/motd.txt"), "Goods arrive daily")
	d.expect("docker stats", d.run("docker", "stats", "--no-stream", "--format", `table {{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.PIDs}}`, "demo-web", "demo-store"), "demo-web", "demo-store", "MiB")
}

func (d *demo) stopAndRestart(page string) {
	d.title("Docker: stop, gracefully, and restart")
	d.run("docker", "stop", "demo-web")
	if d.took > 5*time.Second {
		d.fail("docker stop took %v: the application did not get its signal", seconds(d.took))
	}
	d.expect("the farewell", d.run("docker", "logs", "--tail", "2", "demo-web"), "goodbye: served 2 requests")
	d.expect("the exit code", d.run("docker", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "demo-web"), "exited 0")
	d.run("docker", "restart", "demo-web")
	d.fetch(page+"api/hello", `"count":3`)
}

func (d *demo) removeAndRunAgain(port int, page string) {
	d.title("Docker: remove both and run again; the data is still there")
	d.run("docker", "rm", "--force", "demo-web", "demo-store")
	d.runPair(port)
	d.fetch(page+"api/hello", `"count":4`)
}

func (d *demo) findByName() {
	d.title("Docker: containers find each other by name on a user network")
	d.expect("nslookup", d.run("docker", "exec", "demo-web", "nslookup", "demo-store"), "demo-store", "Address")
	d.expect("wget", d.run("docker", "exec", "demo-web", "wget", "-qO-", "http://demo-store:8081/healthz"), "ok")
}

func (d *demo) compose() {
	d.title("Docker Compose: the same two, from one file")
	port := freePort(18088)
	d.env = []string{fmt.Sprintf("HELLO_PORT=%d", port)}
	d.note("export %s", d.env[0])
	compose := func(args ...string) string {
		return d.run(append([]string{"docker", "compose", "--file", "examples/hello/compose.yaml"}, args...)...)
	}
	compose("up", "--detach", "--wait")
	d.expect("compose ps", compose("ps", "--format", `table {{.Name}}\t{{.Status}}`), "hello-web-1", "hello-store-1", "healthy")
	d.fetch(fmt.Sprintf("http://127.0.0.1:%d/api/hello", port), "Hello from Compose", `"count":1`)
	compose("down", "--volumes")
	if left := d.quiet("docker", "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=hello"); left != "" {
		d.fail("compose down left containers: %s", left)
	}
	d.env = nil
}

func (d *demo) removeThings() {
	d.title("Docker: rm, rmi")
	d.run("docker", "build", "--quiet", "--build-arg", "VERSION=v0", "--tag", "hello:v0", "examples/hello")
	d.run("docker", "run", "--name", "demo-once", "hello:v0", "self-test")
	d.run("docker", "rm", "demo-once")
	d.run("docker", "rmi", "hello:v0")
	if left := d.quiet("docker", "images", "--quiet", "hello:v0"); left != "" {
		d.fail("hello:v0 is still there after docker rmi: %s", left)
	}
	d.run("docker", "rm", "--force", "demo-web", "demo-store")
	d.run("docker", "network", "rm", "demo")
	if left := d.quiet("docker", "ps", "--all", "--quiet", "--filter", "name=demo-"); left != "" {
		d.fail("containers are still there after docker rm: %s", left)
	}
}

// quiet runs a command that a reader need not see, and trims what it says.
func (d *demo) quiet(args ...string) string {
	if d.err != nil {
		return ""
	}
	out, err := d.try(args...)
	if err != nil {
		d.fail("%w\n%s", err, out)
	}
	return strings.TrimSpace(out)
}

// decode is quiet for commands that print JSON.
func (d *demo) decode(into any, args ...string) {
	out := d.quiet(args...)
	if d.err != nil {
		return
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		d.fail("%s: %w", strings.Join(args, " "), err)
	}
}

// freePort is the preferred port, or any other where that one is taken.
func freePort(preferred int) int {
	for _, addr := range []string{fmt.Sprintf("127.0.0.1:%d", preferred), "127.0.0.1:0"} {
		listener, err := net.Listen("tcp", addr) //nolint:noctx // nothing to wait for
		if err != nil {
			continue
		}
		defer func() { _ = listener.Close() }()
		return listener.Addr().(*net.TCPAddr).Port
	}
	return preferred
}
