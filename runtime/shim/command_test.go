package main

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	global := "--root /run/runc/k8s.io --log /run/x/log.json --log-format json "
	base := command{root: "/run/runc/k8s.io", log: "/run/x/log.json"}
	with := func(change func(*command)) command {
		c := base
		c.id = "web"
		change(&c)
		return c
	}
	for line, want := range map[string]command{
		global + "start web":         with(func(c *command) { c.name = "start" }),
		global + "kill web 9":        with(func(c *command) { c.name, c.signal = "kill", "9" }),
		global + "kill --all web 15": with(func(c *command) { c.name, c.signal, c.all = "kill", "15", true }),
		global + "delete --force web": with(func(c *command) {
			c.name, c.force = "delete", true
		}),
		global + "--systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s --no-pivot --no-new-keyring web": with(func(c *command) {
			c.name, c.systemd, c.bundle, c.pidFile, c.console, c.noPivot, c.noNewKeyring = "create", true, "/b", "/b/init.pid", "/s", true, true
		}),
		global + "exec --process /tmp/p --detach --pid-file /b/sh.pid web": with(func(c *command) {
			c.name, c.process, c.detach, c.pidFile = "exec", "/tmp/p", true, "/b/sh.pid"
		}),
	} {
		got, err := parse(exec.CommandContext(t.Context(), "runc", strings.Fields(line)...))
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(command{})); diff != "" {
			t.Errorf("%s:\n%s", line, diff)
		}
	}
}

func TestParseLeavesTheRestToRunc(t *testing.T) {
	for _, line := range []string{
		"", "start", "start a b", "kill web", "kill web 9 9", "--debug start web", "--rootless=true start web",
		"create --preserve-fds 1 web", "update --resources - web", "checkpoint --work-path /w web", "start --root",
	} {
		c, err := parse(exec.CommandContext(t.Context(), "runc", strings.Fields(line)...))
		if !errors.Is(err, errForeign) {
			t.Errorf("%q is taken for %+v: %v", line, c, err)
		}
	}
}
