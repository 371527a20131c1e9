package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/boxyard/boxyard/internal/config"
)

// childMode makes the test binary one of the children below.
const childMode = "PROCESS_TEST_CHILD"

func TestMain(m *testing.M) {
	mode := os.Getenv(childMode)
	if mode == "" {
		os.Exit(m.Run())
	}
	os.Exit(child(mode))
}

func child(mode string) int {
	// No child outlives a test that was cut off by much.
	life := time.After(time.Minute)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println("child says hello")
	switch mode {
	case "fail":
		for i := range 9 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		return 3
	case "stubborn":
		<-life
	case "grandchild":
		fmt.Println("grandchild", os.Getpid())
		<-term
	case "family": // has a child of its own with the same marks and arguments
		exe, err := os.Executable()
		if err != nil {
			return 1
		}
		c := exec.Command(exe)
		c.Args, c.Stdout = os.Args, os.Stdout
		c.Env = append(os.Environ(), childMode+"=grandchild")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			return 1
		}
		<-term
		_ = c.Process.Kill()
		_ = c.Wait()
	case "daemon": // starts a child from the Spec it is given, and waits to be killed
		var s Spec
		if err := json.Unmarshal([]byte(os.Getenv("PROCESS_TEST_SPEC")), &s); err != nil {
			return 1
		}
		p, err := Start(context.Background(), s)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(p.PID())
		<-life
	default:
		select {
		case <-term:
		case <-life:
		}
	}
	return 0
}

// spec is of a child with files in a directory of its own.
func spec(t *testing.T, mode string) Spec {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return Spec{
		Name:        "child",
		Path:        exe,
		Args:        []string{"--some", "argument"},
		Env:         []string{childMode + "=" + mode},
		Dir:         dir,
		LogFile:     filepath.Join(dir, "log", "child.log"),
		StateDir:    filepath.Join(dir, "state"),
		Version:     "v1",
		StopTimeout: 20 * time.Second,
		Log:         config.Log{MaxSizeMB: 1, MaxFiles: 2},
		Logger:      slog.New(slog.DiscardHandler),
	}
}

func start(t *testing.T, s Spec) *Process {
	t.Helper()
	p, err := Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Signal(syscall.SIGKILL)
		ended(t, p)
	})
	return p
}

func ended(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("the process did not end")
	}
}

// logged waits until the log has the text.
func logged(t *testing.T, s Spec, text string) {
	t.Helper()
	eventually(t, "the log to say "+text, func() bool {
		data, _ := os.ReadFile(s.LogFile)
		return strings.Contains(string(data), text)
	})
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for " + what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestStartAndStop(t *testing.T) {
	s := spec(t, "steady")
	p := start(t, s)
	logged(t, s, "hello")
	if p.Adopted() || p.Version() != "v1" || p.PID() <= 1 || p.Err() != nil {
		t.Errorf("adopted %v, version %q, pid %d, err %v", p.Adopted(), p.Version(), p.PID(), p.Err())
	}
	st, err := readStat(p.PID())
	if err != nil || st.session != p.PID() {
		t.Errorf("no session of its own: %+v, %v", st, err)
	}
	for path, want := range map[string]os.FileMode{recordFile(s): 0o600, s.LogFile: 0o640} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	for fd, want := range map[string]string{"fd/0": "/dev/null", "fd/1": s.LogFile, "fd/2": s.LogFile} {
		if got, err := os.Readlink(procFile(p.PID(), fd)); err != nil || got != want {
			t.Errorf("%s is %q, %v", fd, got, err)
		}
	}
	if bytes, err := AnonymousMemory(p.PID()); err != nil || bytes < 64<<10 {
		t.Errorf("memory %d, %v", bytes, err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(recordFile(s)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record is still there: %v", err)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal after the end: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestExitErrorHasStatusAndLastLines(t *testing.T) {
	s := spec(t, "fail")
	if err := os.MkdirAll(filepath.Dir(s.LogFile), 0o755); err != nil {
		t.Fatal(err)
	}
	p := start(t, s)
	ended(t, p)
	var exit *ExitError
	if !errors.As(p.Err(), &exit) || exit.How != "exit status 3" {
		t.Fatalf("got %v", p.Err())
	}
	if want := []string{"line 4", "line 5", "line 6", "line 7", "line 8"}; !slices.Equal(exit.Log, want) {
		t.Errorf("log %q", exit.Log)
	}
}

func TestExitErrorLeavesEarlierRunsOut(t *testing.T) {
	s := spec(t, "steady")
	if err := os.MkdirAll(filepath.Dir(s.LogFile), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.LogFile, []byte("an old complaint\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, s)
	logged(t, s, "hello")
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, p)
	var exit *ExitError
	if !errors.As(p.Err(), &exit) || exit.How != "signal: killed" || !slices.Equal(exit.Log, []string{"child says hello"}) {
		t.Errorf("got %q", p.Err())
	}
}

func TestStubbornChildIsKilled(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"timeout": 50 * time.Millisecond, "context": time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, "stubborn")
			s.StopTimeout = timeout
			p := start(t, s)
			logged(t, s, "hello")
			ctx, cancel := context.WithCancel(t.Context())
			if timeout == time.Hour {
				cancel()
			}
			defer cancel()
			if err := p.Stop(ctx); err == nil || !strings.Contains(err.Error(), "was killed") {
				t.Errorf("got %v", err)
			}
			if p.Err() == nil {
				t.Error("still running")
			}
		})
	}
}

func TestWhatCannotStartLeavesNoRecord(t *testing.T) {
	s := spec(t, "steady")
	s.Dir = filepath.Join(s.Dir, "none")
	if _, err := Start(t.Context(), s); err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(recordFile(s)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left a record: %v", err)
	}
	for _, bad := range []Spec{
		{Name: "../x", Path: "/x"}, {Name: "", Path: "/x"}, {Name: "x", Path: "x"}, {Name: "x", Path: "/x", Cgroup: "../y"},
	} {
		if _, err := Start(t.Context(), bad); err == nil {
			t.Errorf("started %+v", bad)
		}
	}
}

// killedDaemon has another process start the child and kills that with SIGKILL. It returns the child's pid.
func killedDaemon(t *testing.T, s Spec) int {
	t.Helper()
	daemon := daemonFor(t, s)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	pid := 0
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "%d", &pid); err == nil {
			break
		}
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	if pid == 0 {
		t.Fatal("the daemon started nothing")
	}
	return pid
}

func daemonFor(t *testing.T, s Spec) *exec.Cmd {
	t.Helper()
	s.Logger = nil
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(s.Path)
	daemon.Env = []string{childMode + "=daemon", "PROCESS_TEST_SPEC=" + string(data)}
	return daemon
}
