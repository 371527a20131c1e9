package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/boxyard/boxyard/test/conformance/spec"
	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/suite"
)

// session is one call of the command: a run of the suite, or the rest of one.
type session struct {
	opts   suite.Options
	repo   string
	dir    string   // build/compose
	tests  []string // the suite's own list
	record *spec.Record
	// By name, each with the reason: those that cannot run here, those that fail, and those that `make test` has.
	unrunnable, explained, part map[string]string
}

func (s *session) program() string { return filepath.Join(s.dir, "bin/e2e.test") }

// wants says whether a test is to run in this call.
func (s *session) wants(name string) bool {
	if _, cannot := s.unrunnable[name]; cannot || !s.opts.Focus.MatchString(name) {
		return false
	}
	_, inPart := s.part[name]
	return inPart || !s.opts.Part
}

func (s *session) missing() []string {
	return slices.DeleteFunc(slices.Clone(s.tests), func(name string) bool {
		last, ran := s.record.Last(name)
		return !s.wants(name) || ran && (!s.opts.Again || last.State != spec.Failed)
	})
}

// work runs what has no result yet.
func (s *session) work(ctx context.Context) error {
	todo := s.missing()
	suite.Say("%d tests to run", len(todo))
	if len(todo) == 0 {
		return nil
	}
	suite.Say("starting the instance")
	in, err := harness.StartUp(ctx, harness.Options{Config: "without: [cluster]\n"}, filepath.Join(s.dir, "images-amd64.tar"))
	if err != nil {
		return err
	}
	stop, err := s.prepare(ctx, in)
	for len(todo) > 0 && err == nil {
		var results map[string]spec.Result
		if results, err = s.call(ctx, in, todo); err == nil && len(results) == 0 {
			err = errors.New("the program ended without any result; its output is in " + s.output())
		}
		err = errors.Join(err, s.record.Add(results))
		suite.SayFailed(results)
		suite.Say("%s", spec.Summary(results))
		// A panic or the time limit ends the program before all had their turn.
		todo = slices.DeleteFunc(todo, func(name string) bool { _, ok := results[name]; return ok })
	}
	stop()
	logs := filepath.Join(s.dir, "instance")
	err = errors.Join(err, os.RemoveAll(logs), os.CopyFS(logs, os.DirFS(in.LogPath("boxyard"))))
	return errors.Join(err, in.Close())
}

const (
	hub     = "127.0.0.1:5999" // stands for Docker Hub
	prepare = `
set -e
for image in $(docker images --format '{{.Repository}}:{{.Tag}}' | grep -v -e '<none>' -e ^boxyard/); do
	case $image in */*) name=$image ;; *) name=library/$image ;; esac
	docker tag $image 127.0.0.1:5999/$name
	docker push --quiet 127.0.0.1:5999/$name
	docker rmi 127.0.0.1:5999/$name
	docker rmi $image
done
mkdir -p /etc/docker/certs.d/docker.io
printf 'server = "http://127.0.0.1:5999"\n[host."http://127.0.0.1:5999"]\n  capabilities = ["pull", "resolve"]\n' >/etc/docker/certs.d/docker.io/hosts.toml
`
)

// prepare fills the registry that stands for Docker Hub, and gives the tests a home with the plugins that they look for
// there. stop ends the registry; it is not nil.
func (s *session) prepare(ctx context.Context, in *harness.Instance) (stop func(), err error) {
	stop = func() {}
	serve := in.Prepare(ctx, harness.Command{Name: filepath.Join(s.dir, "bin/registry"), Args: []string{hub}})
	if err := in.StartProcess(serve); err != nil {
		return stop, fmt.Errorf("start the registry: %w", err)
	}
	stop = func() { _, _ = serve.Process.Kill(), serve.Wait() }
	result, err := in.Exec(ctx, harness.Command{Name: "sh", Args: []string{"-c", prepare}, Env: environment(s.dir)})
	if err != nil || result.Code != 0 {
		return stop, fmt.Errorf("fill the registry: %w, exit code %d\n%s", err, result.Code, result.Output())
	}
	plugins := filepath.Join(s.dir, "home/.docker/cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return stop, err
	}
	// The tests copy the files of plugins, each time; what is large is called, not copied.
	for _, name := range []string{"docker-compose", "docker-buildx"} {
		script := "#!/bin/sh\nexec /var/lib/boxyard/payload/current/cli-plugins/" + name + ` "$@"` + "\n"
		if err := os.WriteFile(filepath.Join(plugins, name), []byte(script), 0o755); err != nil {
			return stop, err
		}
	}
	// Without one, each test fails (framework.go, copyLocalConfig).
	return stop, os.WriteFile(filepath.Join(s.dir, "home/.docker/config.json"), []byte("{}\n"), 0o600)
}

func environment(dir string) []string {
	return []string{
		"PATH=/var/lib/boxyard/bin:" + filepath.Join(dir, "src/bin/build") + ":/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + filepath.Join(dir, "home"), "DOCKER_HOST=unix:///run/boxyard/docker.sock", "GOCACHE=/tmp/go", "GOFLAGS=",
		"COMPOSE_E2E_BIN_PATH=" + filepath.Join(dir, "home/.docker/cli-plugins/docker-compose"),
	}
}

func (s *session) output() string { return filepath.Join(s.dir, "output.json") }

func (s *session) call(ctx context.Context, in *harness.Instance, tests []string) (map[string]spec.Result, error) {
	quoted := make([]string, len(tests))
	for i, t := range tests {
		quoted[i] = regexp.QuoteMeta(t)
	}
	log, err := os.Create(s.output())
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := in.Prepare(ctx, harness.Command{
		Name: "go", Dir: filepath.Join(s.dir, "src/pkg/e2e"),
		// As upstream's Makefile does it.
		Args: []string{
			"tool", "test2json", "-t", s.program(), "-test.v=test2json", "-test.parallel=4", "-test.timeout=20m",
			"-test.run=^(" + strings.Join(quoted, "|") + ")$",
		},
		Env: environment(s.dir),
	})
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = 10 * time.Second
	if err := in.StartProcess(cmd); err != nil {
		return nil, fmt.Errorf("start Compose's tests: %w", err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("Compose's tests: %w", err) //nolint:staticcheck // a name
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return suite.Results("", log)
}
