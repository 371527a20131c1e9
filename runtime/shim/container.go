package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// create makes a container, up to the point where only `start` is missing (runc create.go, utils_linux.go).
func create(c command, io stdio) (err error) {
	defer func() { err = wrap("runc create failed", err) }()
	var spec specs.Spec
	if err := readJSON(filepath.Join(c.bundle, "config.json"), &spec); err != nil {
		return err
	}
	process, err := newProcess(spec.Process)
	if err != nil {
		return err
	}
	container, err := newContainer(c, &spec)
	if err != nil {
		return err
	}
	process.Init = true
	if err := launch(c, container, process, spec.Process.Terminal, io); err != nil {
		if err := container.Destroy(); err != nil {
			logrus.Warn(err)
		}
		return err
	}
	return nil
}

func newContainer(c command, spec *specs.Spec) (*libcontainer.Container, error) {
	options := &specconv.CreateOpts{
		CgroupName:       c.id,
		UseSystemdCgroup: c.systemd,
		NoPivotRoot:      c.noPivot,
		NoNewKeyring:     c.noNewKeyring,
		Spec:             spec,
		RootlessEUID:     os.Geteuid() != 0,
	}
	var container *libcontainer.Container
	// specconv takes relative paths of the spec as relative to the working directory.
	err := inDirectory(c.bundle, func() error {
		config, err := specconv.CreateLibcontainerConfig(options)
		if err != nil {
			return err
		}
		container, err = libcontainer.Create(c.root, c.id, config)
		return err
	})
	return container, err
}

// inDirectory calls f in a thread that has dir as its working directory, and that ends with f.
func inDirectory(dir string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("leave the process' working directory: %w", err)
			}
			if err := unix.Chdir(dir); err != nil {
				return &fs.PathError{Op: "chdir", Path: dir, Err: err}
			}
			return f()
		}()
	}()
	return <-done
}

// execute starts another process in a container (runc exec.go).
func execute(c command, io stdio) (err error) {
	defer func() { err = wrap("exec failed", err) }()
	container, status, err := find(c)
	if err != nil {
		return err
	}
	switch status {
	case libcontainer.Stopped:
		return errors.New("cannot exec in a stopped container")
	case libcontainer.Paused:
		return errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	}
	var spec specs.Process
	if err := readJSON(c.process, &spec); err != nil {
		return err
	}
	process, err := newProcess(&spec)
	if err != nil {
		return err
	}
	return launch(c, container, process, spec.Terminal, io)
}

// launch starts a process in a container, detached: it is a child of ours, but its end is the reaper's business.
func launch(c command, container *libcontainer.Container, process *libcontainer.Process, terminal bool, io stdio) error {
	if terminal {
		socket, err := dial(c.console)
		if err != nil {
			return err
		}
		defer func() { _ = socket.Close() }()
		process.ConsoleSocket = socket
	} else {
		process.Stdin, process.Stdout, process.Stderr = io.in, io.out, io.err
	}
	process.LogLevel = strconv.Itoa(int(logrus.GetLevel()))
	compiled, err := c.filters.Find(container.Config().Seccomp)
	if err != nil {
		logrus.Warnf("no seccomp filter is kept for container %s, which compiles its own: %v", c.id, err)
	}
	if compiled != nil {
		defer func() { _ = compiled.Close() }()
		process.ExtraFiles = []*os.File{compiled} // for runc's init only (filter.TakeGiven)
	}
	children.RLock()
	defer children.RUnlock()
	if err := container.Start(process); err != nil {
		return err
	}
	if err := writePID(c.pidFile, process); err != nil {
		_ = process.Signal(unix.SIGKILL)
		_, _ = process.Wait()
		return err
	}
	return nil
}

// dial connects to the socket over which a terminal's master is passed. The file is the caller's to close.
func dial(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connect to the console socket %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// writePID writes the file whole or not at all.
func writePID(path string, process *libcontainer.Process) error {
	if path == "" {
		return nil
	}
	pid, err := process.Pid()
	if err != nil {
		return err
	}
	temporary := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(temporary, []byte(strconv.Itoa(pid)), 0o666); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// start lets a container that was created go (runc start.go).
func start(c command, _ stdio) error {
	container, status, err := find(c)
	if err != nil {
		return err
	}
	switch status {
	case libcontainer.Created:
		return container.Exec()
	case libcontainer.Stopped:
		return errors.New("cannot start a container that has stopped")
	case libcontainer.Running:
		return errors.New("cannot start an already running container")
	default:
		return fmt.Errorf("cannot start a container in the %s state", status)
	}
}

// find gives a container that runc knows, and where it stands.
func find(c command) (*libcontainer.Container, libcontainer.Status, error) {
	container, err := libcontainer.Load(c.root, c.id)
	if err != nil {
		return nil, 0, err
	}
	status, err := container.Status()
	return container, status, err
}

// kill sends a signal to a container's first process (runc kill.go). go-runc always gives its number.
func kill(c command, _ stdio) error {
	number, err := strconv.Atoi(c.signal)
	if err != nil {
		return fmt.Errorf("unknown signal %q", c.signal)
	}
	container, err := libcontainer.Load(c.root, c.id)
	if err != nil {
		return err
	}
	err = container.Signal(unix.Signal(number))
	if c.all && errors.Is(err, libcontainer.ErrNotRunning) {
		return nil
	}
	return err
}

// remove takes away what is left of a container that has ended (runc delete.go).
func remove(c command, _ stdio) error {
	container, err := libcontainer.Load(c.root, c.id)
	if errors.Is(err, libcontainer.ErrNotExist) {
		// It may have been killed while it was created: then there is a directory without a state.
		if err := os.RemoveAll(filepath.Join(c.root, c.id)); err != nil {
			return err
		}
		if c.force {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if c.force {
		return end(container)
	}
	status, err := container.Status()
	if err != nil {
		return err
	}
	switch status {
	case libcontainer.Stopped:
		return destroy(container)
	case libcontainer.Created:
		return end(container)
	default:
		return fmt.Errorf("cannot delete container %s that is not stopped: %s", c.id, status)
	}
}

// end kills all of a container and removes it. Its first process is a child of ours, which the reaper takes.
func end(container *libcontainer.Container) error {
	_ = container.Signal(unix.SIGKILL)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if err := container.Signal(unix.Signal(0)); err != nil {
			return destroy(container)
		}
		<-time.After(5 * time.Millisecond)
	}
	return errors.New("container init still running")
}

// destroy may run hooks, for which libcontainer waits.
func destroy(container *libcontainer.Container) error {
	children.RLock()
	defer children.RUnlock()
	return container.Destroy()
}

func readJSON(path string, into any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := json.NewDecoder(f).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
