package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/test/conformance/spec"
	"github.com/boxyard/boxyard/test/harness"
	"github.com/boxyard/boxyard/test/suite"
)

// session is one call of the command: a run of the suite, or the rest of one.
type session struct {
	opts     suite.Options
	repo     string
	dir      string // build/moby
	packages []pkg  // the suite's own list
	record   *spec.Record
	// By name: those that cannot run here, and those that fail, each with the reason.
	unrunnable, explained map[string]string
}

// readLists reads the lists of names. A name that upstream does not have is an error: it would be left out in silence.
func (s *session) readLists() error {
	known := map[string]bool{}
	for _, p := range s.packages {
		for _, t := range p.tests {
			known[p.full(t)] = true
		}
	}
	for _, list := range []struct {
		file string
		into *map[string]string
	}{
		{filepath.Join(s.repo, "test/mobysuite/unrunnable.txt"), &s.unrunnable},
		{filepath.Join(s.repo, "test/mobysuite/explained.txt"), &s.explained},
	} {
		names, err := suite.Reasons(list.file, func(name string) bool { return known[name] })
		if err != nil {
			return err
		}
		*list.into = names
	}
	return nil
}

// wants says whether a test is to run in this call.
func (s *session) wants(p pkg, t test) bool {
	name := p.full(t)
	if _, cannot := s.unrunnable[name]; cannot || !s.opts.Focus.MatchString(name) {
		return false
	}
	return !t.starts || p.isolated() && !s.opts.Part
}

// missing are the tests of a package that are to run, of those that start daemons or of the others.
func (s *session) missing(p pkg, starts bool) []string {
	var names []string
	for _, t := range p.tests {
		full := p.full(t)
		last, ran := s.record.Last(full)
		if !s.wants(p, t) || t.starts != starts {
			continue
		}
		if !ran || s.opts.Again && last.State == spec.Failed {
			names = append(names, t.name)
		}
	}
	return names
}

// work runs what has no result yet, one package after the other: each takes everything away that it did not find.
func (s *session) work(ctx context.Context) error {
	n := 0
	for _, p := range s.packages {
		n += len(s.missing(p, false)) + len(s.missing(p, true))
	}
	suite.Say("%d tests to run", n)
	if n == 0 {
		return nil
	}
	suite.Say("starting the instance")
	var archives []string // stand-ins for the images that upstream's tests expect to find
	for _, arch := range []string{"amd64", "arm64", "arm"} {
		archives = append(archives, filepath.Join(s.dir, "images-"+arch+".tar"))
	}
	in, err := harness.StartUp(ctx, harness.Options{Setup: asUsual}, archives...)
	if err != nil {
		return err
	}
	// Another dockerd makes the nft tables anew that Boxyard's has: what needs those comes first.
	for _, starts := range []bool{false, true} {
		for _, p := range s.packages {
			if err == nil {
				err = s.runPackage(ctx, in, p, starts)
			}
		}
	}
	logs := filepath.Join(s.dir, "instance")
	err = errors.Join(err, os.RemoveAll(logs), os.CopyFS(logs, os.DirFS(in.LogPath("boxyard"))))
	closed := in.Close()
	if closed != nil && !s.opts.Part {
		// Some of upstream's tests leave the daemon that they have started; it went with the instance.
		suite.Say("%v", closed)
		closed = nil
	}
	return errors.Join(err, closed)
}

// asUsual gives the instance what some tests look for on a machine: mounts that propagate, as systemd has them, and an
// interface eth0.
func asUsual() error {
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share the mounts: %w", err)
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = "eth0"
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attributes, PeerName: "eth0-peer"}); err != nil {
		return fmt.Errorf("make eth0: %w", err)
	}
	for _, name := range []string{"eth0", "eth0-peer"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("set %s up: %w", name, err)
		}
		if name != "eth0" {
			continue
		}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 10), Mask: net.CIDRMask(24, 32)}}); err != nil {
			return fmt.Errorf("give eth0 an address: %w", err)
		}
	}
	return nil
}

// runPackage calls the program until each test has a result: a panic or the time limit ends it before the others
// had their turn.
func (s *session) runPackage(ctx context.Context, in *harness.Instance, p pkg, starts bool) error {
	todo := s.missing(p, starts)
	for len(todo) > 0 {
		start := time.Now()
		results, err := s.call(ctx, in, p, todo)
		if err != nil {
			return err
		}
		if len(results) == 0 {
			results[p.name+"/"+todo[0]] = spec.Result{State: spec.Failed, Message: "the program ended without a result", Ended: time.Now()}
		}
		if err := s.record.Add(results); err != nil {
			return err
		}
		suite.SayFailed(results)
		suite.Say("%s: %s in %v", p.name, spec.Summary(results), time.Since(start).Round(time.Second))
		todo = slices.DeleteFunc(todo, func(name string) bool { _, ok := results[p.name+"/"+name]; return ok })
	}
	return nil
}

func (s *session) call(ctx context.Context, in *harness.Instance, p pkg, tests []string) (map[string]spec.Result, error) {
	quoted := make([]string, len(tests))
	for i, t := range tests {
		quoted[i] = regexp.QuoteMeta(t)
	}
	file := filepath.Join(s.dir, "output", strings.ReplaceAll(p.name, "/", "-")+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := in.Prepare(ctx, harness.Command{
		Name: "go", Dir: p.dir,
		Args: []string{"tool", "test2json", "-t", p.program(s.dir), "-test.v=test2json", "-test.timeout=15m", "-test.run=^(" + strings.Join(quoted, "|") + ")$"},
		Env: []string{
			"PATH=/var/lib/boxyard/bin:/var/lib/boxyard/payload/current:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"DOCKER_HOST=unix:///run/boxyard/docker.sock", "GOFLAGS=", "GOCACHE=/tmp/go",
			"DOCKER_INTEGRATION_DAEMON_DEST=" + filepath.Join(s.dir, "src/bundles/test"), "DOCKER_FIREWALL_BACKEND=nftables", "TEST_INTEGRATION_CONTAINERD_EMBEDDED=1",
		},
	})
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = 10 * time.Second
	if err := in.StartProcess(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w", p.name, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return suite.Results(p.name+"/", log)
}
