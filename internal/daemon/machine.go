package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/boxyard/boxyard/internal/access"
	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/cgroup"
	"github.com/boxyard/boxyard/internal/component/network"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/controlapi"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/host"
	"github.com/boxyard/boxyard/internal/kubeconfig"
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
	keep     func() bool // containers and pods go on when the parts stop
}

// ranges are the addresses of the state, parsed. All have the same families, IPv4 first.
type ranges struct {
	pods, services []netip.Prefix
	nodes          []netip.Prefix // the node's address with the length of its own pod range
	docker, pool   netip.Prefix
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
		var faults []*fault.Error
		if c, faults = host.PickRanges(facts.Routes, c, d.o.Chosen); len(faults) > 0 {
			return nil, joinFaults(faults)
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
	own := ownPIDs(l)
	if faults := host.Preflight(ctx, facts, c, l, own...); len(faults) > 0 {
		return nil, joinFaults(faults)
	}
	for _, w := range host.Warnings(facts, c, own...) {
		d.o.Log.Warn(w)
	}
	m, err := newMachine(d.o, c, state, facts)
	if err != nil {
		return nil, err
	}
	m.keep = d.keepContainers
	if used, same := state.used(version.Version); created || !same {
		if err := used.Save(l.StateFile()); err != nil {
			return nil, fmt.Errorf("write what was decided at creation: %w", err)
		}
	}
	return m, d.make(ctx, m, source)
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
		return linkClients(m.layout)
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

func (s State) ranges() (ranges, error) {
	var r ranges
	var errs []error
	parse := func(text string) netip.Prefix {
		p, err := netip.ParsePrefix(text)
		errs = append(errs, err)
		return p
	}
	for i, text := range s.PodCIDRs {
		r.pods = append(r.pods, parse(text))
		r.services = append(r.services, parse(nth(s.ServiceCIDRs, i)))
	}
	r.docker, r.pool = parse(s.DockerCIDR), parse(s.DockerPool)
	if err := errors.Join(errs...); err != nil || len(r.pods) == 0 {
		return r, &fault.Error{
			Code: "state-corrupt", Summary: "state.json has ranges that cannot be read",
			Hint: "restore it from a backup, or start afresh: boxyard reset", Cause: err,
		}
	}
	r.nodes = network.FirstNodeIPs(r.pods)
	return r, nil
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

// ownPIDs are the pids in the records of package process: parts that an earlier daemon left running.
// A record may be out of date; what it is used for, not to complain of ourselves, bears that.
func ownPIDs(l paths.Layout) []int {
	files, _ := filepath.Glob(filepath.Join(l.ProcessDir(), "*.json"))
	var pids []int
	for _, f := range files {
		var record struct{ PID int }
		data, err := os.ReadFile(f)
		if err == nil && json.Unmarshal(data, &record) == nil && record.PID != 0 {
			pids = append(pids, record.PID)
		}
	}
	return pids
}

// access is who may use the sockets and the kubeconfig: the group, and who ran up with sudo.
func (m *machine) access() (access.Access, error) { return accessOf(m.layout, m.config) }

func accessOf(l paths.Layout, c config.Config) (access.Access, error) {
	a, err := access.FromEnvironment(c.Group)
	if err != nil {
		return a, err
	}
	users, err := Users(l)
	if err != nil {
		return a, err
	}
	for _, u := range users {
		if u.UID != 0 && !slices.Contains(a.UIDs, u.UID) {
			a.UIDs = append(a.UIDs, u.UID)
		}
	}
	return a, nil
}

// publish writes the kubeconfig and puts it into that of every user.
func (m *machine) publish() error {
	if !m.has("cluster") {
		return nil
	}
	admin, err := pki.AdminKubeconfig(m.pki)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.layout.Config, 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(m.layout.Kubeconfig(), admin, 0o600); err != nil {
		return err
	}
	a, err := m.access()
	if err != nil {
		return err
	}
	if err := a.Apply(m.layout.Kubeconfig(), 0o640); err != nil {
		return err
	}
	users, err := Users(m.layout)
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := kubeconfig.Merge(u.kube(), admin); err != nil {
			// A user's broken file is the user's: it keeps nothing from starting.
			m.log.Warn("cannot add the context boxyard", "home", u.Home, "error", err)
		}
	}
	return nil
}

// GrantAll gives everybody in access.json access to what is there, without a daemon's help.
func GrantAll(l paths.Layout) error {
	c, err := config.Load(l.ConfigFile())
	if err != nil {
		return err
	}
	a, err := accessOf(l, c)
	if err != nil {
		return err
	}
	for path, mode := range map[string]os.FileMode{
		l.ControlSocket(): 0o660, l.DockerSocket(): 0o660, l.Kubeconfig(): 0o640,
	} {
		if err := a.Apply(path, mode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	admin, err := os.ReadFile(l.Kubeconfig())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	users, err := Users(l)
	if err != nil {
		return err
	}
	var errs []error
	for _, u := range users {
		errs = append(errs, kubeconfig.Merge(u.kube(), admin))
	}
	return errors.Join(errs...)
}

// linkClients makes the links that a user puts on the PATH. They go through `current`, so that an
// upgrade needs no new ones.
func linkClients(l paths.Layout) error {
	// 0711 above and 0755 here: any user may run the clients, and list nothing else.
	for dir, mode := range map[string]os.FileMode{l.Data: 0o711, l.BinDir(): 0o755} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
	}
	for _, name := range []string{"docker", "kubectl", "helm"} {
		link, target := filepath.Join(l.BinDir(), name), filepath.Join(l.PayloadDir(), "current", name)
		if now, err := os.Readlink(link); err == nil && now == target {
			continue
		}
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
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
