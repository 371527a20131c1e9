package main

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/runtime/shim/filter"
)

// command is what upstream's task service runs as `runc [global options] name [options] id [signal]`. It is built by
// go-runc, from whose source the options are known.
type command struct {
	name    string
	id      string
	signal  string // of kill
	root    string // where runc keeps the state of its containers
	log     string // a file, in JSON
	systemd bool   // cgroups are made by systemd

	force        bool // delete
	all          bool // kill
	noPivot      bool // create
	noNewKeyring bool // create
	detach       bool // exec
	bundle       string
	pidFile      string
	console      string // a socket for the terminal's master
	process      string // a file with what exec is to run

	filters *filter.Cache // not from the command line; nil: none are kept
}

var errForeign = errors.New("not one of the commands that are known here")

// parse reads a command line. Whatever it does not know is for the real runc, which it says with errForeign.
func parse(cmd *exec.Cmd) (command, error) {
	var c command
	var words []string
	flags, values := c.flags(), c.values()
	for args := cmd.Args[1:]; len(args) > 0; {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			words = append(words, arg)
			continue
		}
		if flag, ok := flags[arg]; ok {
			*flag = true
			continue
		}
		value, ok := values[arg]
		if !ok || len(args) == 0 {
			return command{}, fmt.Errorf("%w: %s", errForeign, arg)
		}
		*value, args = args[0], args[1:]
	}
	err := c.take(words)
	return c, err
}

// take takes what is no option: the command's name, the container, and the signal for kill.
func (c *command) take(words []string) error {
	want := 2
	if slices.Contains(words[:min(1, len(words))], "kill") {
		want = 3
	}
	if len(words) != want {
		return fmt.Errorf("%w: %q", errForeign, words)
	}
	c.name, c.id = words[0], words[1]
	if want == 3 {
		c.signal = words[2]
	}
	return nil
}

func (c *command) flags() map[string]*bool {
	return map[string]*bool{
		"--systemd-cgroup": &c.systemd,
		"--force":          &c.force,
		"--all":            &c.all,
		"--no-pivot":       &c.noPivot,
		"--no-new-keyring": &c.noNewKeyring,
		"--detach":         &c.detach,
	}
}

func (c *command) values() map[string]*string {
	var format string
	return map[string]*string{
		"--root":           &c.root,
		"--log":            &c.log,
		"--log-format":     &format, // always json
		"--bundle":         &c.bundle,
		"--pid-file":       &c.pidFile,
		"--console-socket": &c.console,
		"--process":        &c.process,
	}
}
