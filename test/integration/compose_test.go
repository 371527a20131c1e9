//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestCompose runs what a file may have, with the Compose of the payload.
func TestCompose(t *testing.T) {
	b := newBox(t, harness.Options{Config: "without: [cluster]\n"})
	b.up()
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"profiles", composeProfiles},
		{"order", composeOrder},
		{"scale", composeScale},
		{"secrets and configs", composeSecrets},
		{"include", composeInclude},
		{"restart of one", composeRestart},
		{"watch", composeWatch},
		{"errors", composeErrors},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

// project is a directory with a compose.yaml.
type project struct {
	box
	dir string
}

// project makes one of these files; what it starts is gone after the test.
func (b box) project(files map[string]string) project {
	b.t.Helper()
	p := project{b, b.context(files)}
	b.afterwards("compose", "--project-directory", p.dir, "--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "0")
	return p
}

func (p project) compose(args ...string) string {
	p.t.Helper()
	return p.docker(append([]string{"compose", "--project-directory", p.dir}, args...)...)
}

// services are those that run.
func (p project) services() string {
	p.t.Helper()
	return strings.Join(strings.Fields(p.compose("--profile", "*", "ps", "--format", "{{.Service}}")), " ")
}

func composeProfiles(b box) {
	p := b.project(map[string]string{"compose.yaml": `
services:
  always: {image: boxyard/base, command: sleep 3600}
  sometimes: {image: boxyard/base, command: sleep 3600, profiles: [debug]}
`})
	p.compose("up", "--detach")
	if got := p.services(); got != "always" {
		b.t.Errorf("without a profile: %q", got)
	}
	p.compose("--profile", "debug", "up", "--detach")
	if got := p.services(); got != "always sometimes" {
		b.t.Errorf("with the profile: %q", got)
	}
}

func composeOrder(b box) {
	p := b.project(map[string]string{"compose.yaml": `
services:
  prepare: {image: boxyard/base, command: sh -c 'echo prepared > /data/file', volumes: [data:/data]}
  serve:
    image: boxyard/base
    command: sh -c 'cp /data/file /srv-file && sleep 1 && touch /ready && sleep 3600'
    volumes: [data:/data]
    healthcheck: {test: test -e /ready, interval: 30s, start_period: 30s, start_interval: 200ms}
    depends_on: {prepare: {condition: service_completed_successfully}}
  use: {image: boxyard/base, command: sleep 3600, depends_on: {serve: {condition: service_healthy}}}
volumes: {data: {}}
`})
	p.compose("up", "--detach")
	if got := strings.TrimSpace(p.compose("exec", "-T", "serve", "cat", "/srv-file")); got != "prepared" {
		b.t.Errorf("serve found %q", got)
	}
	// When use has started, serve was healthy.
	started := func(service, field string) time.Time {
		id := strings.TrimSpace(p.compose("ps", "--quiet", service))
		at, err := time.Parse(time.RFC3339Nano, b.docker("inspect", "--format", "{{"+field+"}}", id))
		if err != nil {
			b.t.Fatal(err)
		}
		return at
	}
	if wait := started("use", ".State.StartedAt").Sub(started("serve", ".State.StartedAt")); wait < time.Second {
		b.t.Errorf("use started %v after serve, which is ready after a second", wait)
	}
}

func composeScale(b box) {
	p := b.project(map[string]string{"compose.yaml": "services: {one: {image: boxyard/base, command: sleep 3600}}\n"})
	for _, n := range []int{3, 1} {
		p.compose("up", "--detach", "--scale", fmt.Sprint("one=", n), "--timeout", "0")
		if got := len(strings.Fields(p.compose("ps", "--quiet"))); got != n {
			b.t.Errorf("scaled to %d: %d run", n, got)
		}
	}
}

func composeSecrets(b box) {
	p := b.project(map[string]string{
		"compose.yaml": `
services:
  reads:
    image: boxyard/base
    command: sleep 3600
    secrets: [from-file, {source: from-environment, target: renamed}]
    configs: [{source: inline, target: /etc/inline.conf}]
secrets:
  from-file: {file: secret.txt}
  from-environment: {environment: COMPOSE_TEST_SECRET}
configs:
  inline: {content: "level=high"}
`,
		"secret.txt": "of a file", ".env": "COMPOSE_TEST_SECRET=of the environment\n",
	})
	p.compose("up", "--detach")
	for file, want := range map[string]string{"/run/secrets/from-file": "of a file", "/run/secrets/renamed": "of the environment", "/etc/inline.conf": "level=high"} {
		if got := strings.TrimSpace(p.compose("exec", "-T", "reads", "cat", file)); got != want {
			b.t.Errorf("%s has %q, want %q", file, got, want)
		}
	}
	if out := b.docker("inspect", strings.TrimSpace(p.compose("ps", "--quiet", "reads"))); strings.Contains(out, "of the environment") {
		b.t.Error("docker inspect shows a secret")
	}
}

func composeInclude(b box) {
	p := b.project(map[string]string{
		"compose.yaml":           "include: [other/compose.yaml]\nservices: {main: {image: boxyard/base, command: sleep 3600, depends_on: [other]}}\n",
		"other/compose.yaml":     "services: {other: {image: boxyard/base, command: sleep 3600, env_file: [values.env]}}\n",
		"other/values.env":       "FROM=included\n",
		"compose.override.yaml":  "services: {main: {environment: {FROM: overridden}}}\n",
		"other/unrelated/readme": "",
	})
	p.compose("up", "--detach")
	for service, want := range map[string]string{"main": "overridden", "other": "included"} {
		if got := strings.TrimSpace(p.compose("exec", "-T", service, "sh", "-c", "echo $FROM")); got != want {
			b.t.Errorf("%s: %q, want %q", service, got, want)
		}
	}
}

func composeRestart(b box) {
	p := b.project(map[string]string{"compose.yaml": "services: {a: {image: boxyard/base, command: sleep 3600}, b: {image: boxyard/base, command: sleep 3600}}\n"})
	p.compose("up", "--detach")
	pid := func(service string) string {
		return b.docker("inspect", "--format", "{{.State.Pid}}", strings.TrimSpace(p.compose("ps", "--quiet", service)))
	}
	a, other := pid("a"), pid("b")
	p.compose("restart", "--timeout", "0", "a")
	if pid("a") == a || pid("b") != other {
		b.t.Errorf("processes before: %s %s, after: %s %s", a, other, pid("a"), pid("b"))
	}
}

// composeWatch: a changed file is in the container, and a changed Dockerfile makes another image.
func composeWatch(b box) {
	p := b.project(map[string]string{
		"compose.yaml": `
services:
  web:
    build: .
    image: compose-watched
    command: sleep 3600
    stop_grace_period: 0s
    develop:
      watch:
        - {action: sync, path: ./src, target: /src}
        - {action: rebuild, path: ./Dockerfile}
`,
		"Dockerfile": "FROM boxyard/base\nCOPY src /src\n", "src/file": "first",
	})
	b.afterwards("rmi", "--force", "compose-watched")
	p.compose("up", "--detach", "--build")
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	var watching sync.WaitGroup
	watching.Go(func() {
		_, _ = b.Exec(ctx, harness.Command{Name: b.Binary, Args: []string{"docker", "compose", "--project-directory", p.dir, "watch", "--no-up"}})
	})
	defer watching.Wait()
	defer cancel()
	has := func(file, want string) error {
		result := b.try("compose", "--project-directory", p.dir, "exec", "-T", "web", "cat", file)
		if got := strings.TrimSpace(result.Output()); got != want {
			return fmt.Errorf("%s has %q", file, got)
		}
		return nil
	}
	n := 0
	b.eventually(20*time.Second, "a changed file is synced", func() error {
		// Again and again, because nothing says from when on it watches.
		n++
		if err := os.WriteFile(filepath.Join(p.dir, "src/file"), fmt.Appendf(nil, "changed %d", n), 0o644); err != nil {
			return err
		}
		var err error
		for range 20 {
			if err = has("/src/file", fmt.Sprintf("changed %d", n)); err == nil {
				return nil
			}
		}
		return err
	})
	if err := os.WriteFile(filepath.Join(p.dir, "Dockerfile"), []byte("FROM boxyard/base\nCOPY src /src\nRUN echo rebuilt > /rebuilt\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.eventually(30*time.Second, "a changed Dockerfile makes another container", func() error { return has("/rebuilt", "rebuilt") })
}

func composeErrors(b box) {
	for name, test := range map[string]struct{ file, says string }{
		"a key that does not exist":   {"services: {a: {image: boxyard/base, comand: sleep}}\n", "comand"},
		"a service that is not there": {"services: {a: {image: boxyard/base, depends_on: [none]}}\n", "none"},
		"a circle":                    {"services: {a: {image: boxyard/base, depends_on: [b]}, b: {image: boxyard/base, depends_on: [a]}}\n", "cycle"},
		"not YAML":                    {"services: [\n", "yaml"},
	} {
		p := b.project(map[string]string{"compose.yaml": test.file})
		result := b.try("compose", "--project-directory", p.dir, "up", "--detach")
		if result.Code == 0 || !strings.Contains(result.Output(), test.says) {
			b.t.Errorf("%s: exit code %d, and no %q in:\n%s", name, result.Code, test.says, result.Output())
		}
	}
}
