package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/audit"
	"github.com/boxyard/boxyard/internal/cgroup"
	"github.com/boxyard/boxyard/internal/component/frontdoor"
	"github.com/boxyard/boxyard/internal/component/registry"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/host"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/payload"
	"github.com/boxyard/boxyard/internal/pki"
	"github.com/boxyard/boxyard/internal/version"
	"github.com/boxyard/boxyard/internal/workload"
)

// machine is what is known when the parts can start.
type machine struct {
	layout   paths.Layout
	config   config.Config // what was decided at creation is in it
	state    State
	facts    host.Facts
	bin      string // the payload's directory, by the link that outlives an upgrade
	versions map[string]string
	cgroup   cgroup.Root
	pki      pki.Params
	ranges   ranges
	log      *slog.Logger
	// frontDoor is set by Components; nil where it is off.
	frontDoor *frontdoor.Component
	// registry is set by Components.
	registry *registry.Component
	keep     func() bool // containers and pods go on when the parts stop
}

func (m *machine) has(part string) bool { return !slices.Contains(m.config.Without, part) }

// prepare does what comes before the first part: it looks before it changes anything, and then does
// what takes long side by side.
func (d *daemon) prepare(ctx context.Context) (*machine, error) {
	l := d.o.Layout
	source, err := openPayload(d.o)
	if err != nil {
		return nil, err
	}
	state, err := LoadState(l.StateFile(), version.Version)
	created := errors.Is(err, fs.ErrNotExist)
	if err != nil && !created {
		return nil, err
	}
	facts, err := host.Detect(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at this host: %w", err)
	}
	c := d.o.Config
	if created {
		if c, err = d.pickRanges(c, facts); err != nil {
			return nil, err
		}
		state, err = newState(creation{
			config: c, ipv6: facts.IPv6, hostname: facts.Hostname, boxyard: version.Version, now: time.Now().UTC().Truncate(time.Second),
		})
		if err != nil {
			return nil, err
		}
		state.Before, state.NFTTables = presences(sharedPaths()), facts.NFTTables
	}
	if c, err = state.apply(c, d.o.Chosen); err != nil {
		return nil, err
	}
	if !created && len(state.LoadBalancerPools) == 0 {
		c = d.pickPools(c, facts)
	}
	// A pool that has room beside the configured ranges may have none beside those decided.
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := checkAudit(c); err != nil {
		return nil, err
	}
	own := ownPIDs(l)
	if facts, err = preflight(ctx, facts, c, l, own); err != nil {
		return nil, err
	}
	for _, w := range host.Warnings(facts, c, own...) {
		d.note(w)
	}
	wasEphemeral := state.Ephemeral
	state, same := state.used(version.Version, c, presence)
	switch {
	case c.Ephemeral:
		d.note("ephemeral: nothing is written through to the disk; a power cut may lose everything")
	case wasEphemeral: // It is to be kept from now on.
		if err := syncAll(l.Data); err != nil {
			return nil, err
		}
	}
	m, err := newMachine(d.o, c, state, facts)
	if err != nil {
		return nil, err
	}
	m.keep = d.keepContainers
	if created || !same {
		if err := state.Save(l.StateFile()); err != nil {
			return nil, fmt.Errorf("write what was decided at creation: %w", err)
		}
	}
	return m, d.make(ctx, m, source)
}

// syncAll writes through what the file system of a directory has in memory.
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write %s through to the disk: %w", dir, err)
	}
	return nil
}

// checkAudit looks at the audit policy here, so that a faulty one starts nothing.
func checkAudit(c config.Config) error {
	if slices.Contains(c.Without, "cluster") || !c.Audit.Enabled || c.Audit.PolicyFile == "" {
		return nil
	}
	return audit.Check(c.Audit.PolicyFile)
}

// preflight returns the facts that it has judged. What will pass by itself is waited for.
func preflight(ctx context.Context, facts host.Facts, c config.Config, l paths.Layout, own []int) (host.Facts, error) {
	const patience, pause = 3 * time.Second, 50 * time.Millisecond
	for began := time.Now(); ; {
		faults := host.Preflight(ctx, facts, c, l, own...)
		if len(faults) == 0 {
			return facts, nil
		}
		if !slices.ContainsFunc(faults, host.Passing) || time.Since(began) > patience {
			return facts, joinFaults(faults)
		}
		select {
		case <-ctx.Done():
			return facts, ctx.Err()
		case <-time.After(pause):
		}
		var err error
		if facts, err = host.Detect(ctx); err != nil {
			return facts, fmt.Errorf("look at this host: %w", err)
		}
	}
}

// note tells the log, and whoever waits for us, what keeps nothing from running.
func (d *daemon) note(text string) {
	d.o.Log.Warn(text)
	d.events.add(controlapi.Event{Time: time.Now(), Component: "host", To: controlapi.Note, Reason: text})
}

// make makes files and cgroups. The longest, the extraction of the payload, hides the others.
func (d *daemon) make(ctx context.Context, m *machine, source *payload.Payload) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		begin := time.Now()
		set, err := source.Extract(ctx, m.layout.PayloadDir())
		if err != nil {
			return err
		}
		m.versions = set.Versions
		d.events.add(controlapi.Event{Time: time.Now(), Component: "payload", From: "starting", To: "ready"})
		d.o.Log.Info("payload is there", "dir", set.Dir, "took", time.Since(begin))
		return linkPayload(m.layout, set.Dir)
	})
	group.Go(func() error {
		if _, err := pki.Ensure(m.pki); err != nil {
			return err
		}
		return m.publish()
	})
	group.Go(func() error { return host.RecordSysctls(sysctlFile(m.layout)) })
	group.Go(func() error { return m.cgroup.Ensure(ctx) })
	group.Go(func() error {
		a, err := m.access()
		if err != nil {
			return err
		}
		return a.Apply(m.layout.ControlSocket(), 0o660)
	})
	return group.Wait()
}

func newMachine(o Options, c config.Config, s State, facts host.Facts) (*machine, error) {
	r, err := s.ranges()
	if err != nil {
		return nil, err
	}
	mounts, err := workload.CgroupMounts()
	if err != nil {
		return nil, err
	}
	c.Proxy = proxy(c.Proxy, os.Getenv)
	m := &machine{
		layout: o.Layout, config: c, state: s, facts: facts, ranges: r, log: o.Log,
		bin:    filepath.Join(o.Layout.PayloadDir(), "current"),
		cgroup: cgroup.Root{Name: c.CgroupRoot, Systemd: facts.Systemd, Mounts: mounts},
		pki:    pki.Params{Dir: o.Layout.PKIDir(), NodeName: s.NodeName, APIPort: c.APIPort},
	}
	for _, n := range r.nodes {
		m.pki.NodeIPs = append(m.pki.NodeIPs, net.IP(n.Addr().AsSlice()))
	}
	for _, p := range r.services {
		m.pki.ServiceIPs = append(m.pki.ServiceIPs, net.IP(p.Addr().Next().AsSlice()))
	}
	return m, nil
}

// proxy is what is configured, or what the environment says.
func proxy(c config.Proxy, getenv func(string) string) config.Proxy {
	if c != (config.Proxy{}) {
		return c
	}
	return config.Proxy{HTTP: getenv("HTTP_PROXY"), HTTPS: getenv("HTTPS_PROXY"), NoProxy: getenv("NO_PROXY")}
}

func openPayload(o Options) (*payload.Payload, error) {
	if o.PayloadDir != "" {
		return payload.FromDir(o.PayloadDir)
	}
	p, err := payload.Open(o.Exe)
	if errors.Is(err, payload.ErrNone) {
		return nil, &fault.Error{
			Code: "no-payload", Summary: o.Exe + " carries no payload: it is a bare build",
			Hint: "boxyard up --payload-dir build/payload, or make build",
		}
	}
	return p, err
}

// joinFaults makes one error of several. The first decides about the exit code.
func joinFaults(faults []*fault.Error) error {
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}

func sysctlFile(l paths.Layout) string { return filepath.Join(l.Data, "sysctls.json") }

// podResolvConf is what pods with dnsPolicy Default get: systemd-resolved's stub on 127.0.0.53 is
// out of their reach, and it keeps a file with the servers behind it (kubeadm does the same).
func podResolvConf() string {
	const plain, resolved = "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"
	data, err := os.ReadFile(plain)
	if err != nil || !strings.Contains(string(data), "127.0.0.53") {
		return plain
	}
	if _, err := os.Stat(resolved); err != nil {
		return plain
	}
	return resolved
}
