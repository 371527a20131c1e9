package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/boxyard/boxyard/test/conformance/spec"
	"github.com/boxyard/boxyard/test/harness"
)

// suiteText is what stands before every spec's name where ginkgo matches a focus.
const suiteText = "Kubernetes e2e suite"

// upstream is where the built programs are, and how they are called.
type upstream struct {
	dir   string // build/e2e
	suite suite
	repo  string
}

func (u upstream) program(name string) string { return filepath.Join(u.dir, "bin", name) }

// env tells the specs where their images are.
func (u upstream) env() string {
	return "KUBE_TEST_REPO_LIST=" + filepath.Join(u.repo, "test/conformance/registries.yaml")
}

// suiteArgs are the suite's own, with paths that hold in any directory.
func (u upstream) suiteArgs() []string {
	var args []string
	for _, arg := range u.suite.args {
		if name, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(value, "test/") {
			arg = name + "=" + filepath.Join(u.repo, value)
		}
		args = append(args, arg)
	}
	return args
}

// list is the suite's own list of specs. It needs no cluster.
func (u upstream) list(ctx context.Context, dir string) ([]spec.Spec, error) {
	report := filepath.Join(dir, "list-"+u.suite.name+".json")
	cmd := exec.CommandContext(ctx, u.program("e2e.test"), append(u.suiteArgs(),
		"--ginkgo.dry-run", "--ginkgo.no-color", "--ginkgo.silence-skips", "--ginkgo.succinct",
		"--ginkgo.label-filter="+u.suite.labels, "--ginkgo.json-report="+report)...)
	cmd.Env = append(os.Environ(), u.env())
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("list the specs: %w\n%s", err, tail(string(out)))
	}
	file, err := os.Open(report)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return spec.List(file)
}

// run runs a batch inside the instance. Its results are there even if it was interrupted.
func (u upstream) run(ctx context.Context, in *harness.Instance, b spec.Batch, procs int, dir string) (map[string]spec.Result, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := in.Prepare(ctx, harness.Command{Name: u.program("ginkgo"), Args: u.args(b, procs, dir), Dir: dir, Env: []string{u.env()}})
	cmd.Stdout, cmd.Stderr = log, log
	// Ginkgo writes its report when it is interrupted, once the specs have cleaned up.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 4 * time.Minute
	if err := in.StartProcess(cmd); err != nil {
		return nil, fmt.Errorf("start ginkgo: %w", err)
	}
	ended := cmd.Wait()
	var exit *exec.ExitError
	if ended != nil && !errors.As(ended, &exit) && ctx.Err() == nil {
		return nil, fmt.Errorf("ginkgo: %w", ended)
	}
	file, err := os.Open(filepath.Join(dir, "report.json"))
	if err != nil {
		return nil, fmt.Errorf("ginkgo has written no report (%w); see %s", ended, log.Name())
	}
	defer func() { _ = file.Close() }()
	results, err := spec.Results(file)
	if err != nil {
		return results, fmt.Errorf("%w; see %s", err, log.Name())
	}
	return results, nil
}

func (u upstream) args(b spec.Batch, procs int, dir string) []string {
	if b.Serial {
		procs = 1
	}
	args := []string{
		"--no-color", "--silence-skips", "--succinct", "--timeout=6h",
		fmt.Sprintf("--procs=%d", min(procs, len(b.Specs))),
		"--output-dir=" + dir, "--json-report=report.json",
	}
	for _, s := range b.Specs {
		args = append(args, "--focus=^"+regexp.QuoteMeta(suiteText+" "+s.Name)+"$")
	}
	args = append(args, u.program("e2e.test"), "--",
		"--provider=local", "--kubeconfig=/etc/boxyard/kubeconfig", "--kubectl-path=/var/lib/boxyard/bin/kubectl",
		"--num-nodes=1", "--allowed-not-ready-nodes=0", "--minStartupPods=0",
		"--dump-logs-on-failure=true", "--disable-log-dump=true")
	return append(args, u.suiteArgs()...)
}

// tail is the end of a long output.
func tail(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
