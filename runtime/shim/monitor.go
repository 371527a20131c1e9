package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containerd/go-runc"

	"github.com/boxyard/boxyard/runtime/shim/filter"
)

// monitor runs commands of runc with runc's own library in this process, where it can, and others as it is told.
// A runc that is started anew for each of them spends most of its time on finding its way about: on reading its
// options and on preparing its decoder of JSON. It is the place of go-runc to be asked for each command
// (runc.Monitor).
type monitor struct {
	runc.ProcessMonitor
	own     os.FileInfo   // the runc that this program was built with
	filters *filter.Cache // nil: none are kept
}

// newMonitor returns a monitor that leaves to processes what it does not do. It does nothing itself if the runc
// of the same version does not lie beside this program.
func newMonitor(processes runc.ProcessMonitor, filters *filter.Cache) runc.ProcessMonitor {
	self, err := os.Executable()
	if err != nil {
		return processes
	}
	own, err := os.Stat(filepath.Join(filepath.Dir(self), "runc"))
	if err != nil {
		return processes
	}
	return monitor{processes, own, filters}
}

// Start implements runc.ProcessMonitor. A command that is run here is done when Start returns.
func (m monitor) Start(cmd *exec.Cmd) (chan runc.Exit, error) {
	return m.start(cmd, m.ProcessMonitor.Start)
}

// StartLocked implements runc.ProcessMonitor.
func (m monitor) StartLocked(cmd *exec.Cmd) (chan runc.Exit, error) {
	return m.start(cmd, m.ProcessMonitor.StartLocked)
}

func (m monitor) start(cmd *exec.Cmd, process func(*exec.Cmd) (chan runc.Exit, error)) (chan runc.Exit, error) {
	c, run, ok := m.find(cmd)
	if !ok {
		return process(cmd)
	}
	io, err := newStdio(cmd)
	if err != nil {
		return nil, err
	}
	defer io.close()
	exit := runc.Exit{}
	if err := run(c, io); err != nil {
		exit.Status = 1
		report(c, cmd, err)
	}
	exit.Timestamp = time.Now()
	done := make(chan runc.Exit, 1)
	done <- exit
	return done, nil
}

// Wait implements runc.ProcessMonitor.
func (m monitor) Wait(cmd *exec.Cmd, exits chan runc.Exit) (int, error) {
	if cmd.Process != nil {
		return m.ProcessMonitor.Wait(cmd, exits)
	}
	return (<-exits).Status, nil
}

// find gives the function for a command that can be run here.
func (m monitor) find(cmd *exec.Cmd) (c command, run func(command, stdio) error, ok bool) {
	c, err := parse(cmd)
	if err != nil || !m.isOwn(cmd.Path) {
		return c, nil, false
	}
	c.filters = m.filters
	switch {
	case c.name == "start":
		return c, start, true
	case c.name == "kill":
		return c, kill, true
	case c.name == "delete":
		return c, remove, true
	case c.console == "" && !hasFiles(cmd):
		return c, nil, false // its output is to be copied
	case c.name == "create":
		return c, create, true
	case c.name == "exec" && c.detach:
		return c, execute, true
	}
	return c, nil, false
}

// isOwn tells whether the runtime is the runc that this program was built with: a user may have chosen another, and
// after an upgrade containerd names the next one.
func (m monitor) isOwn(path string) bool {
	other, err := os.Stat(path)
	return err == nil && os.SameFile(other, m.own)
}

// stdio are the files of a container's process.
type stdio struct{ in, out, err, null *os.File }

// hasFiles tells whether the command's input and output are files, or nothing.
func hasFiles(cmd *exec.Cmd) bool {
	for _, stream := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		if _, ok := stream.(*os.File); stream != nil && !ok {
			return false
		}
	}
	return true
}

// newStdio gives the files of a command, and /dev/null for nothing, as os/exec does.
func newStdio(cmd *exec.Cmd) (stdio, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return stdio{}, err
	}
	file := func(stream any) *os.File {
		if f, ok := stream.(*os.File); ok {
			return f
		}
		return null
	}
	return stdio{in: file(cmd.Stdin), out: file(cmd.Stdout), err: file(cmd.Stderr), null: null}, nil
}

func (s stdio) close() { _ = s.null.Close() }

// report says what went wrong as runc does: in its log, where upstream's task service looks for it, or on stderr.
func report(c command, cmd *exec.Cmd, err error) {
	if c.log == "" {
		if cmd.Stderr != nil {
			fmt.Fprintln(cmd.Stderr, err)
		}
		return
	}
	line, encodeErr := json.Marshal(map[string]any{"level": "error", "msg": err.Error(), "time": time.Now()})
	if encodeErr != nil {
		return
	}
	f, openErr := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if openErr != nil {
		return
	}
	defer func() { _ = f.Close() }()
	_, _ = f.Write(append(line, '\n'))
}
