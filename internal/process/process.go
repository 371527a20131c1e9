package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/boxyard/boxyard/internal/config"
)

// killWait is how long a killed process may take to be gone: the kernel may be busy with its memory.
const killWait = 10 * time.Second

// errLines is how many lines of the log an error carries.
const errLines = 5

// Spec is what to run and how.
type Spec struct {
	Name        string        // of the component: file names in StateDir
	Path        string        // absolute, of the executable (a link into the payload)
	Args        []string      // without argv[0], which is filepath.Base(Path)
	Env         []string      // complete
	Dir         string        // working directory; "" for ours
	LogFile     string        // the child's stdout and stderr; its directory is made
	StateDir    string        // of the records; made
	Version     string        // upstream version, remembered for adoption
	Cgroup      string        // relative path, entered in every hierarchy; "" leaves the child in ours
	StopTimeout time.Duration // between SIGTERM and SIGKILL; 15 s by default
	Log         config.Log
	Logger      *slog.Logger // for what is not fatal; slog.Default() by default

	// BeforeLaunch is optional and called before a child is started, and not where one is adopted: none runs then.
	BeforeLaunch func(ctx context.Context) `json:"-"`
}

func (s Spec) argv() []string { return append([]string{filepath.Base(s.Path)}, s.Args...) }

func (s Spec) complete() (Spec, error) {
	if s.StopTimeout == 0 {
		s.StopTimeout = 15 * time.Second
	}
	if s.Logger == nil {
		s.Logger = slog.Default()
	}
	switch {
	case s.Name == "" || s.Name != filepath.Base(s.Name):
		return s, fmt.Errorf("start a process: %q is no name", s.Name)
	case !filepath.IsAbs(s.Path):
		return s, fmt.Errorf("start %s: the path %q is not absolute", s.Name, s.Path)
	case s.Cgroup != "" && !filepath.IsLocal(s.Cgroup):
		return s, fmt.Errorf("start %s: the cgroup %q is not a relative path", s.Name, s.Cgroup)
	}
	return s, nil
}

// Process is a child that runs or has run. Its methods may be called from any goroutine.
type Process struct {
	spec    Spec
	record  record
	fd      *pidfd
	adopted bool
	logFrom int64         // where its part of the log begins
	release func()        // ends the rotation of the log
	left    chan struct{} // closed by release
	done    chan struct{}
	err     error // set before done is closed
}

// Start adopts the process that is recorded in s.StateDir if it lives, else starts one.
func Start(ctx context.Context, s Spec) (*Process, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	unlock, err := lock(s)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p, err := adopt(s)
	if err != nil || p != nil {
		return p, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.BeforeLaunch != nil {
		s.BeforeLaunch(ctx)
	}
	return launch(s)
}

func newProcess(s Spec, r record, fd *pidfd) *Process {
	p := &Process{spec: s, record: r, fd: fd, left: make(chan struct{}), done: make(chan struct{})}
	p.release = sync.OnceFunc(func() { close(p.left) })
	go p.rotateLog()
	return p
}

// launch starts a child between two writes of the record: the first says that there may be one.
func launch(s Spec) (*Process, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	executable, err := filepath.EvalSymlinks(s.Path)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Name, err)
	}
	r := record{
		BootID: boot, Executable: executable, ArgsHash: hashArgs(s.argv()),
		Version: s.Version, StartedAt: time.Now(),
	}
	if err := r.write(s); err != nil {
		return nil, err
	}
	log, size, err := openLog(s)
	if err != nil {
		return nil, errors.Join(err, r.remove(s))
	}
	defer log.Close()
	cmd, fd, err := fork(s, log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", s.Name, err), r.remove(s))
	}
	if err := recordChild(s, &r, cmd.Process.Pid); err != nil {
		// A child that nobody knows must not go on.
		_ = fd.signal(syscall.SIGKILL)
		_ = cmd.Wait()
		fd.close()
		return nil, err
	}
	if err := enterCgroup(cgroupRoot, s.Cgroup, cmd.Process.Pid); err != nil {
		s.Logger.Warn("the process stays in the daemon's cgroup", "component", s.Name, "error", err)
	}
	p := newProcess(s, r, fd)
	p.logFrom = size
	go p.watch(func() string {
		_ = cmd.Wait() // its error is the state, said below
		return cmd.ProcessState.String()
	})
	return p, nil
}

func fork(s Spec, log *os.File) (*exec.Cmd, *pidfd, error) {
	fd := -1
	cmd := &exec.Cmd{
		Path: s.Path,
		Args: s.argv(),
		Env:  append(slices.Clip(s.Env), markers(s)...),
		Dir:  s.Dir,
		// Files, not pipes: a pipe would break when we end, and the child with it.
		Stdout: log,
		Stderr: log,
		// In a session of its own no signal of our terminal or group reaches it.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, PidFD: &fd},
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	if fd < 0 {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, nil, errors.New("the kernel has no pidfd: Linux 5.4 or newer is needed")
	}
	return cmd, &pidfd{fd: fd}, nil
}

func recordChild(s Spec, r *record, pid int) error {
	st, err := readStat(pid) // a child that has ended already is a zombie, and still has one
	if err != nil {
		return fmt.Errorf("record %s: %w", s.Name, err)
	}
	r.PID, r.StartTime = pid, st.startTime
	return r.write(s)
}

// watch sees the process to its end. wait returns how it ended.
func (p *Process) watch(wait func() string) {
	how := wait()
	lines, err := tail(p.spec.LogFile, p.logFrom, errLines)
	if err != nil {
		p.spec.Logger.Warn("read the log's end", "component", p.spec.Name, "error", err)
	}
	p.err = &ExitError{Name: p.spec.Name, How: how, Log: lines}
	if err := p.record.remove(p.spec); err != nil {
		p.spec.Logger.Warn("remove the record", "component", p.spec.Name, "error", err)
	}
	p.fd.close()
	close(p.done)
}

// PID is the process's number, also after its end.
func (p *Process) PID() int { return p.record.PID }

// Adopted is true when an earlier daemon started it.
func (p *Process) Adopted() bool { return p.adopted }

// Version is the one that it was started with.
func (p *Process) Version() string { return p.record.Version }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is nil while it runs, then an *ExitError, also for exit status 0.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Signal sends sig to the process and to none that has its pid later: then the error is os.ErrProcessDone.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.fd.signal(sig); err != nil {
		return fmt.Errorf("signal %s: %w", p.spec.Name, err)
	}
	return nil
}

// Release lets the process go on without us: its log is not rotated any more, until it is adopted.
func (p *Process) Release() { p.release() }

// Stop sends SIGTERM, waits for StopTimeout or until ctx is done, then sends SIGKILL. It returns
// when the process has ended; having had to kill it is an error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(p.spec.StopTimeout)
	defer timer.Stop()
	began := time.Now()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	err := fmt.Errorf("%s did not end within %s and was killed", p.spec.Name, time.Since(began).Round(time.Millisecond))
	if e := p.Signal(syscall.SIGKILL); e != nil && !errors.Is(e, os.ErrProcessDone) {
		return e
	}
	timer.Reset(killWait)
	select {
	case <-p.done:
		return err
	case <-timer.C:
		return fmt.Errorf("%s (pid %d) was killed and is still there after %s", p.spec.Name, p.PID(), killWait)
	}
}

// ExitError is how a process ended.
type ExitError struct {
	Name string
	How  string   // "exit status 1", "signal: killed"
	Log  []string // the last lines that it logged
}

// Error has the log lines on lines of their own.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s ended: %s", e.Name, e.How)
	if len(e.Log) == 0 {
		return text
	}
	return text + "\n  " + strings.Join(e.Log, "\n  ")
}
