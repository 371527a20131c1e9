package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/boxyard/boxyard"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Dir, Doc     string
	GoFiles      []string
	Imports      []string
	Deps         []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// list lists the packages of the module in dir below the repository.
func list(t *testing.T, dir string, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Dir,Doc,GoFiles,Imports,Deps,TestGoFiles,XTestGoFiles"}, patterns...)...)
	cmd.Dir = filepath.Join("..", "..", dir)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %q: %v\n%s", dir, err, stderr.String())
	}
	var packages []pkg
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// in says whether path is one of the packages, or below one.
func in(path string, packages ...string) bool {
	return slices.ContainsFunc(packages, func(p string) bool {
		return path == p || strings.HasPrefix(path, p+"/")
	})
}

func TestForbiddenDependencies(t *testing.T) {
	rules := []struct {
		dir    string
		forbid []string
		why    string
	}{
		{".", []string{"k8s.io/kubernetes", "github.com/moby/moby/v2", "go.etcd.io/etcd/server"}, "the root module talks to them through their clients"},
		{"engine", []string{"k8s.io/kubernetes"}, "Docker and Kubernetes depend on containerd only"},
		{"cluster", []string{"github.com/moby/moby", "github.com/docker/docker"}, "Docker and Kubernetes depend on containerd only"},
	}
	for _, r := range rules {
		t.Run(r.dir, func(t *testing.T) {
			for _, p := range list(t, r.dir, "./...") {
				for _, dep := range p.Deps {
					if in(dep, r.forbid...) {
						t.Errorf("%s depends on %s: %s", p.ImportPath, dep, r.why)
					}
				}
			}
		})
	}
}

func TestDocker(t *testing.T) {
	for _, p := range list(t, "clients", "./cmd/docker") {
		for _, dep := range p.Deps {
			if in(dep, "github.com/docker/buildx", "github.com/docker/compose", "k8s.io") {
				t.Errorf("%s depends on %s, which makes each `docker run` start later", p.ImportPath, dep)
			}
		}
	}
}

// The direction: cmd -> cli -> controlapi, daemon -> component/* -> supervisor, process, ... -> fault.
func TestDirection(t *testing.T) {
	const components = module + "/internal/component"
	for _, p := range list(t, ".", "./cmd/...", "./internal/...") {
		for _, dep := range p.Imports {
			switch {
			case in(dep, components) && in(p.ImportPath, components):
				if component(dep) != component(p.ImportPath) {
					t.Errorf("%s imports %s: a component imports no other", p.ImportPath, dep)
				}
			case in(dep, components) && !in(p.ImportPath, module+"/internal/daemon"):
				t.Errorf("%s imports %s: only daemon does", p.ImportPath, dep)
			case in(dep, module+"/internal/daemon") && !in(p.ImportPath, module+"/internal/cli", module+"/internal/daemon"):
				t.Errorf("%s imports %s: only cli does", p.ImportPath, dep)
			case in(dep, module+"/internal/cli") && !in(p.ImportPath, module+"/cmd", module+"/internal/cli"):
				t.Errorf("%s imports %s: only cmd does", p.ImportPath, dep)
			}
		}
	}
}

// component is the name after internal/component/.
func component(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, module+"/internal/component/"), "/")
	return name
}

func TestLeavesImportNothingOfBoxyard(t *testing.T) {
	for _, p := range list(t, ".", "./internal/fault", "./internal/paths", "./internal/version", "./internal/atomicfile") {
		for _, dep := range p.Deps {
			if in(dep, module) {
				t.Errorf("%s imports %s", p.ImportPath, dep)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, dir := range []string{".", "engine", "cluster", "clients", "e2e"} {
		for _, p := range list(t, dir, "./...") {
			if len(p.GoFiles) > 0 && p.Doc == "" {
				t.Errorf("%s has no package comment: what does it own, what must it not import?", p.ImportPath)
			}
		}
	}
}

func TestNoLocalReplaces(t *testing.T) {
	if _, err := os.Stat("../../go.work"); err == nil {
		t.Error("there is a go.work; the modules have build lists of their own")
	}
	for _, dir := range []string{".", "engine", "cluster", "clients", "runtime", "e2e"} {
		cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
		cmd.Dir = filepath.Join("..", "..", dir)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Replace []struct {
				Old, New struct{ Path, Version string }
			}
		}
		if err := json.Unmarshal(out, &file); err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Replace {
			if r.New.Version == "" {
				t.Errorf("%s/go.mod replaces %s by the directory %s", dir, r.Old.Path, r.New.Path)
			}
		}
	}
}

// What two modules have of one project must be of one version.
func TestVersionsAgree(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "../../scripts/versions.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	version := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		version[name] = value
	}
	minor := func(v string) string { // 1.37.2 and 0.37.2 are one release
		_, rest, _ := strings.Cut(v, ".")
		return rest
	}
	for _, same := range [][2]string{
		{version["docker"], version["docker_proxy"]},
		{version["containerd"], version["shim"]},
		{minor(version["kubernetes"]), minor(version["kubectl"])},
		{version["kubernetes"], moduleVersion(t, "e2e", "k8s.io/kubernetes")},
	} {
		if same[0] != same[1] || same[0] == "" {
			t.Errorf("versions %q and %q, want the same", same[0], same[1])
		}
	}
}

// moduleVersion is the version of a module, without its v, in the build list of the module in dir.
func moduleVersion(t *testing.T, dir, path string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", path)
	cmd.Dir = filepath.Join("..", "..", dir)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "v")
}

func TestFilesAreShort(t *testing.T) {
	for _, dir := range []string{".", "engine", "cluster", "clients", "e2e"} {
		for _, p := range list(t, dir, "./...") {
			for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
				data, err := os.ReadFile(filepath.Join(p.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if lines := bytes.Count(data, []byte("\n")); lines > 500 {
					t.Errorf("%s/%s has %d lines: look for the seam", p.ImportPath, name, lines)
				}
			}
		}
	}
}
