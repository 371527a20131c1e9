package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/test/harness"
)

// daemon is a process of a peer that serves until it is stopped.
type daemon struct {
	name    string
	log     string // the file with what it has written
	process *os.Process
	ended   chan struct{}
}

// serve starts a daemon of the subject, which close stops. Its log is in the subject's directory.
func (s *subject) serve(ctx context.Context, command ...string) error {
	name := filepath.Base(command[0])
	log := filepath.Join(s.dir, name+".log")
	out, err := os.Create(log)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	// It must outlive the call's context: stop ends it.
	cmd := s.in.Prepare(context.WithoutCancel(ctx), harness.Command{Name: command[0], Args: command[1:], Env: s.env})
	cmd.Stdout, cmd.Stderr = out, out
	if err := s.in.StartProcess(cmd); err != nil {
		return err
	}
	d := &daemon{name: name, log: log, process: cmd.Process, ended: make(chan struct{})}
	go func() {
		defer close(d.ended)
		_ = cmd.Wait() // SIGTERM ends it: not a success to exec
	}()
	s.daemons = append(s.daemons, d)
	return nil
}

func (d *daemon) stop() error {
	_ = d.process.Signal(unix.SIGTERM)
	select {
	case <-d.ended:
		return nil
	case <-time.After(30 * time.Second):
		return errors.Join(fmt.Errorf("%s did not end within 30 s of SIGTERM", d.name), d.process.Kill())
	}
}

// answers waits until check gives nil. The error has the ends of the daemons' logs.
func (s *subject) answers(ctx context.Context, limit time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := every(ctx, 20*time.Millisecond, check)
	for _, d := range s.daemons {
		if err != nil {
			err = fmt.Errorf("%w\n%s wrote:\n%s", err, d.name, d.end())
		}
	}
	return err
}

// end is the end of the log.
func (d *daemon) end() string {
	text, _ := os.ReadFile(d.log)
	const enough = 4 << 10
	return strings.ToValidUTF8(string(text[max(0, len(text)-enough):]), "")
}
