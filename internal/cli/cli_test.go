package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/paths"
)

type world struct {
	*App
	out, err bytes.Buffer
}

// newWorld is an App with nothing of this machine in it.
func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{}
	w.App = &App{
		In: strings.NewReader(""), Out: &w.out, Err: &w.err, Root: true,
		Layout: paths.Layout{
			Data: filepath.Join(dir, "data"), Run: filepath.Join(dir, "run"),
			Config: filepath.Join(dir, "etc"), Log: filepath.Join(dir, "log"),
		},
		Getenv: func(string) string { return "" },
		Exe:    filepath.Join(dir, "boxyard"),
		Exec:   func(string, []string, []string) error { return errors.New("not expected") },
	}
	return w
}

func (w *world) main(args ...string) int {
	return Main(append([]string{"/bin/boxyard"}, args...), w.App)
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		args string
		user bool // not root
		code int
		want string // in what is printed as an error
	}{
		{args: "", code: 0},
		{args: "--help", code: 0},
		{args: "nonsense", code: 2, want: "boxyard: there is no command nonsense\ntry: boxyard --help"},
		{args: "statsu", code: 2, want: "try: boxyard status"},
		{args: "status --no-such", code: 2, want: "boxyard: unknown flag: --no-such\ntry: boxyard status --help"},
		{args: "status extra", code: 2, want: "does not take the argument extra"},
		{args: "status -o yaml", code: 2, want: "allowed: json"},
		{args: "status", code: 5, want: "boxyard: Boxyard is not running\ntry: sudo boxyard up"},
		{args: "status -o json", code: 5, want: "not running"},
		{args: "restart", code: 2, want: "name one part"},
		{args: "restart dns", code: 5, want: "not running"},
		{args: "logs nonsense", code: 2, want: "there is no log of nonsense"},
		{args: "logs -n -1", code: 2, want: "-n takes"},
		{args: "url", code: 2, want: "svc/web"},
		{args: "url pod/x", code: 2, want: "pod/x is neither a Service nor a container"},
		{args: "url svc/", code: 2, want: "svc/ is neither"},
		{args: "url svc/web.a -n b", code: 2, want: "in the namespace a by its name"},
		{args: "url web", code: 5, want: "Docker is not running"},
		{args: "url container/web", code: 5, want: "Docker is not running"},
		{args: "url svc/web", code: 5, want: "no cluster"},
		{args: "up --api-port x", code: 2, want: "api-port"},
		{args: "up --without nonsense", code: 2, want: "nonsense"},
		{args: "up", user: true, code: 4, want: "boxyard: boxyard up needs root\ntry: sudo boxyard up"},
		{args: "down", user: true, code: 4, want: "needs root"},
		{args: "reset --yes", user: true, code: 4, want: "needs root"},
		{args: "install", user: true, code: 4, want: "needs root"},
		{args: "uninstall", user: true, code: 4, want: "needs root"},
		{args: "daemon", user: true, code: 4, want: "needs root"},
		{args: "reset", code: 2, want: "try: boxyard reset --yes"},
		{args: "kubectl get nodes", code: 5, want: "kubectl is not there yet"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			w := newWorld(t)
			w.Root = !tt.user
			if code := w.main(strings.Fields(tt.args)...); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if got := w.err.String(); !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("printed %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("plain"), 1, "boxyard: plain\n"},
		{fmt.Errorf("wait: %w", context.Canceled), 130, ""},
		{silent(3), 3, ""},
		{&fault.Error{Summary: "s", Hint: "h", Cause: errors.New("c"), Exit: 4}, 4, "boxyard: s: c\ntry: h\n"},
		{fmt.Errorf("outer: %w", &fault.Error{Summary: "s", Hint: "h"}), 1, "boxyard: outer: s\ntry: h\n"},
		{
			errors.Join(&fault.Error{Summary: "one", Hint: "h"}, errors.New("two")), 1,
			"boxyard: one\ntry: h\nboxyard: two\n",
		},
	} {
		w := newWorld(t)
		if code := w.report(tt.err); code != tt.code {
			t.Errorf("%v: exit code %d, want %d", tt.err, code, tt.code)
		}
		if d := cmp.Diff(tt.want, w.err.String()); d != "" {
			t.Error(d)
		}
	}
}

func TestResetAsks(t *testing.T) {
	for answer, code := range map[string]int{"n\n": 1, "\n": 1, "": 1, "maybe\n": 1} {
		w := newWorld(t)
		w.Terminal, w.In = true, strings.NewReader(answer)
		if err := os.MkdirAll(w.Layout.Data, 0o755); err != nil {
			t.Fatal(err)
		}
		if got := w.main("reset"); got != code {
			t.Errorf("%q: exit code %d", answer, got)
		}
		if _, err := os.Stat(w.Layout.Data); err != nil {
			t.Errorf("%q: data was deleted: %v", answer, err)
		}
	}
}

func TestClientsGetTheirArgumentsUntouched(t *testing.T) {
	for _, tt := range []struct {
		argv []string
		want []string
	}{
		{[]string{"boxyard", "docker", "--help", "-o", "json", "--", "x"}, []string{"docker", "--help", "-o", "json", "--", "x"}},
		{[]string{"boxyard", "compose", "-f", "a.yaml", "up"}, []string{"docker", "compose", "-f", "a.yaml", "up"}},
		{[]string{"boxyard", "kubectl", "--version"}, []string{"kubectl", "--version"}},
		{[]string{"boxyard", "helm"}, []string{"helm"}},
		{[]string{"/usr/local/bin/kubectl", "get", "-o", "wide"}, []string{"kubectl", "get", "-o", "wide"}},
	} {
		w := newWorld(t)
		current := filepath.Join(w.Layout.PayloadDir(), "current")
		if err := os.MkdirAll(current, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(current, tt.want[0]), nil, 0o755); err != nil {
			t.Fatal(err)
		}
		var path string
		var args []string
		w.Exec = func(p string, a, env []string) error {
			path, args = p, a
			if !slices.Contains(env, "BOXYARD=1") {
				t.Error("BOXYARD=1 is missing")
			}
			return nil
		}
		if code := Main(tt.argv, w.App); code != 0 {
			t.Errorf("%q: exit code %d: %s", tt.argv, code, w.err.String())
		}
		if d := cmp.Diff(tt.want, args); d != "" {
			t.Error(d)
		}
		if want := filepath.Join(current, tt.want[0]); path != want {
			t.Errorf("started %s, want %s", path, want)
		}
	}
}

func TestSettings(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("without: [docker]\nnodeName: n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := settings{file: file, apiPort: 7000, without: []string{"cluster"}, payloadDir: "/p"}
	c, chosen, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	if c.APIPort != 7000 || c.NodeName != "n1" || !slices.Equal(c.Without, []string{"docker", "cluster"}) {
		t.Errorf("%+v", c)
	}
	if d := cmp.Diff(map[string]bool{"without": true, "nodeName": true, "apiPort": true}, chosen); d != "" {
		t.Error(d)
	}
	want := []string{"--config", file, "--api-port", "7000", "--without", "cluster", "--payload-dir", "/p"}
	if d := cmp.Diff(want, s.arguments(w.Layout.ConfigFile())); d != "" {
		t.Error(d)
	}
	if err := s.forUnit(w.App); fault.Code(err) != "flags-with-unit" {
		t.Error(err)
	}
	if err := (&settings{file: w.Layout.ConfigFile()}).forUnit(w.App); err != nil {
		t.Error(err)
	}
}

func TestSettingsPaths(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("c.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := settings{file: "c.yaml", payloadDir: "payload"}
	if _, _, err := s.load(); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"--config", filepath.Join(dir, "c.yaml"), "--payload-dir", filepath.Join(dir, "payload")}
	if d := cmp.Diff(want, s.arguments("/etc/boxyard/config.yaml")); d != "" {
		t.Error(d)
	}
}

func TestStatusTable(t *testing.T) {
	now := time.Unix(10000, 0)
	var b bytes.Buffer
	err := printStatus(&b, controlapi.Status{
		Phase: "running", PID: 11, Version: "v1", Since: now.Add(-3 * time.Hour), MemoryBytes: 20 << 20,
		Components: []controlapi.ComponentStatus{
			{Name: "containerd", State: "ready", Since: now.Add(-90 * time.Second), PID: 12, MemoryBytes: 1 << 20, Version: "2.4.2"},
			{Name: "network", State: "ready", Since: now.Add(-5 * time.Minute)},
			{Name: "front-door", State: "ready", Since: now.Add(-5 * time.Minute), Warning: "port 80 is in use by nginx (pid 7)"},
			{Name: "cluster", State: "backoff", Since: now.Add(-50 * time.Hour), LastError: "cluster ended: exit status 1\n  a log line"},
		},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	want := `Boxyard v1 is not ready (pid 11, 3h0m, 20 MiB)

PART        STATE    SINCE  PID  MEMORY  VERSION  WAITING FOR
containerd  ready    90s    12   1 MiB   2.4.2    
network     ready    5m     -    -       -        
front-door  ready    5m     -    -       -        
cluster     backoff  2d     -    -       -        cluster ended: exit status 1

  note: front-door: port 80 is in use by nginx (pid 7)
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestProgressLines(t *testing.T) {
	var b bytes.Buffer
	begin := time.Unix(100, 0)
	p := progress{out: &b, begin: begin, said: map[string]bool{}}
	for _, e := range []controlapi.Event{
		{Component: "host", To: "note", Reason: "another Docker engine runs"},
		{Component: "network", To: "starting"},
		{Component: "network", To: "ready", Time: begin.Add(120 * time.Millisecond)},
		{Component: "cluster", To: "backoff", Reason: "cluster ended\n  why", Time: begin.Add(time.Second)},
		{Component: "cluster", To: "ready", Time: begin.Add(2500 * time.Millisecond)},
		{Component: "cluster", To: "degraded"},
		{Component: "cluster", To: "ready", Time: begin.Add(time.Minute)},
	} {
		p.show(e)
	}
	want := `  note: another Docker engine runs
  network      ready   0.1 s
  cluster      ended   1.0 s  and starts again: cluster ended
        why
  cluster      ready   2.5 s
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

func TestLinks(t *testing.T) {
	dir, bin := t.TempDir(), "/data/bin"
	if err := os.WriteFile(filepath.Join(dir, "helm"), []byte("theirs"), 0o755); err != nil {
		t.Fatal(err)
	}
	taken := func(name string) bool { return name == "docker" }
	if err := makeLinks(dir, bin, taken); err != nil {
		t.Fatal(err)
	}
	if target, _ := os.Readlink(filepath.Join(dir, "kubectl")); target != "/data/bin/kubectl" {
		t.Errorf("kubectl leads to %q", target)
	}
	if _, err := os.Lstat(filepath.Join(dir, "docker")); err == nil {
		t.Error("a link of a name that is taken")
	}
	if err := removeLinks(dir, bin); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "helm" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestCopyExe(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := os.WriteFile(from, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := copyExe(from, to); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if err := copyExe(to, to); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(to); err != nil || string(data) != "program" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestDaemonEnvironmentIsScrubbed(t *testing.T) {
	w := newWorld(t)
	w.Getenv = func(name string) string {
		return map[string]string{"https_proxy": "http://p:1", "NO_PROXY": "a", "LD_PRELOAD": "x", "PATH": "/evil"}[name]
	}
	want := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"HTTPS_PROXY=http://p:1", "NO_PROXY=a",
	}
	if d := cmp.Diff(want, w.daemonEnv()); d != "" {
		t.Error(d)
	}
}
