package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/nft/keeper"
)

const (
	// rulesEvery is how often CheckHealth looks at nft without an event: nft costs some
	// milliseconds of a process each time.
	rulesEvery = 30 * time.Second
	// settle is how long to wait after an event for those that follow: a firewall that
	// reloads sends thousands.
	settle = 100 * time.Millisecond
)

// Component is the network under pods and containers.
type Component struct {
	options Options
	plan    plan
	nft     nft
	log     *slog.Logger
	proc    string // where sysctls are
	sys     string

	mu           sync.Mutex
	rulesChecked time.Time // zero: look at the next occasion
	ports        map[string][]port
	refused      error // a host firewall that did not let us add rules
}

// New makes the component. An error is one of the options'.
func New(o Options, log *slog.Logger) (*Component, error) {
	p, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	return &Component{
		options: o, plan: p, nft: nft{path: cmp.Or(o.NFT, "nft")}, log: log, proc: "/proc/sys", sys: "/sys",
		ports: map[string][]port{},
	}, nil
}

// Name implements supervisor.Component.
func (c *Component) Name() string { return "network" }

// Requires implements supervisor.Component.
func (c *Component) Requires() []string { return nil }

// Prepare implements supervisor.Component. There is no file to write.
func (c *Component) Prepare(context.Context) error { return nil }

// Run makes the network and keeps it until ctx is done. It leaves it as it is:
// what pods and containers need outlives the daemon.
func (c *Component) Run(ctx context.Context, ready func()) error {
	// Before anything is made, so that nothing is lost in between.
	changes, err := watch(ctx, c.bridgeNames())
	if err != nil {
		return fmt.Errorf("watch the network: %w", err)
	}
	if err := c.build(ctx); err != nil {
		return err
	}
	ready()
	var lending sync.WaitGroup
	lending.Go(func() { c.lend(ctx) })
	c.keep(ctx, changes)
	lending.Wait()
	return nil
}

// lend lends processes of nft to those who change rules often. Without, they start their own.
func (c *Component) lend(ctx context.Context) {
	if c.options.NFTSocket == "" {
		return
	}
	listener, err := keeper.Listen(c.options.NFTSocket)
	if err == nil {
		err = keeper.New(c.nft.path, c.log).Serve(ctx, listener)
	}
	if err != nil {
		c.log.WarnContext(ctx, "no processes of nft are lent; one is started for each change", "error", err)
	}
}

// build is the first time: our table is replaced even where one is there, since it
// may be that of another version.
func (c *Component) build(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.ensureLinks(); err != nil {
		return err
	}
	if err := c.nft.apply(ctx, c.plan.table.script()); err != nil {
		return fmt.Errorf("make table %s %s: %w", tableFamily, tableName, err)
	}
	listed, err := c.nft.chains(ctx)
	if err != nil {
		return err
	}
	if _, err := c.ensurePasses(ctx, listed); err != nil {
		return err
	}
	c.rulesChecked = time.Now()
	return nil
}

func (c *Component) keep(ctx context.Context, changes <-chan change) {
	for {
		select {
		case <-ctx.Done():
			return
		case kind := <-changes:
			kinds := gather(ctx, changes, kind)
			c.mu.Lock()
			if kinds[rulesChanged] {
				c.rulesChecked = time.Time{}
			}
			err := c.repair(ctx)
			c.mu.Unlock()
			if err != nil && ctx.Err() == nil {
				c.log.Warn("cannot repair the network", "error", err)
			}
		}
	}
}

// gather takes the events that come within settle.
func gather(ctx context.Context, changes <-chan change, first change) map[change]bool {
	kinds := map[change]bool{first: true}
	end := time.NewTimer(settle)
	defer end.Stop()
	for {
		select {
		case <-ctx.Done():
			return kinds
		case <-end.C:
			return kinds
		case kind := <-changes:
			kinds[kind] = true
		}
	}
}

// CheckHealth implements supervisor.HealthChecker: it makes again what is
// missing, and reports what it could not make.
func (c *Component) CheckHealth(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.repair(ctx); err != nil {
		return err
	}
	return c.refused
}

func (c *Component) repair(ctx context.Context) error {
	made, err := c.ensureLinks()
	c.report(made)
	if err != nil {
		return err
	}
	if time.Since(c.rulesChecked) < rulesEvery {
		return nil
	}
	made, err = c.ensureRules(ctx)
	c.report(made)
	return err
}

func (c *Component) report(made []string) {
	if len(made) > 0 {
		c.log.Info("repaired the network", "made", strings.Join(made, ", "))
	}
}

// ensureLinks is everything but nft: some netlink messages and reads of /proc.
func (c *Component) ensureLinks() ([]string, error) {
	var made []string
	for _, b := range c.plan.bridges {
		link, news, err := ensureBridge(c.proc, b)
		if err != nil {
			return made, err
		}
		made = append(made, news...)
		if slices.Contains(news, "bridge "+b.name) {
			back, err := ensurePorts(link, c.ports[b.name])
			made = append(made, back...)
			if err != nil {
				return made, err
			}
		}
	}
	if err := c.rememberPorts(); err != nil {
		return made, err
	}
	wanted := c.plan.sysctls
	if c.plan.forwardsIPv6() {
		wanted = slices.Concat(advertised(c.proc, c.sys, advertisedInterfaces(), c.bridgeNames()), wanted)
	}
	set, err := setSysctls(c.proc, wanted)
	made = append(made, set...)
	if err != nil {
		return made, err
	}
	routes, err := ensureRoutes(c.plan.routes)
	return append(made, routes...), err
}

func (c *Component) rememberPorts() error {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	index := map[string]int{}
	for _, l := range links {
		index[l.Attrs().Name] = l.Attrs().Index
	}
	for _, b := range c.plan.bridges {
		if i, ok := index[b.name]; ok {
			c.ports[b.name] = portsOf(c.sys, links, i)
		}
	}
	return nil
}

// ensureRules makes our table again where something of it is missing, and lets
// our traffic pass the chains of the host's firewall.
func (c *Component) ensureRules(ctx context.Context) ([]string, error) {
	listed, err := c.nft.chains(ctx)
	if err != nil {
		return nil, err
	}
	var made []string
	intact, err := c.tableIntact(ctx, listed)
	if err != nil {
		return nil, err
	}
	if !intact {
		if err := c.nft.apply(ctx, c.plan.table.script()); err != nil {
			return nil, fmt.Errorf("make table %s %s: %w", tableFamily, tableName, err)
		}
		made = append(made, "table "+tableName)
	}
	passed, err := c.ensurePasses(ctx, listed)
	if err != nil {
		return made, err
	}
	c.rulesChecked = time.Now()
	return append(made, passed...), nil
}

func (c *Component) tableIntact(ctx context.Context, listed ruleset) (bool, error) {
	for _, want := range c.plan.table.chains {
		if _, ok := listed.find(chainKey{tableFamily, tableName, want.name}); !ok {
			return false, nil
		}
	}
	rs, err := c.nft.table(ctx, chainKey{family: tableFamily, table: tableName})
	if err != nil {
		return false, err
	}
	return c.plan.table.intact(rs), nil
}

func (c *Component) ensurePasses(ctx context.Context, listed ruleset) ([]string, error) {
	var made []string
	c.refused = nil
	for _, t := range listed.guardTables() {
		rs, err := c.nft.table(ctx, t)
		if err != nil {
			// A firewall that reloads may have taken its table away meanwhile.
			return made, err
		}
		scripts := missingPasses(rs, c.plan.passes)
		for _, key := range slices.SortedFunc(maps.Keys(scripts), compareKeys) {
			if err := c.nft.apply(ctx, scripts[key]); err != nil {
				c.refused = refusal(key, c.plan.bridges, err)
				continue
			}
			made = append(made, fmt.Sprintf("rules in %s %s %s", key.family, key.table, key.name))
		}
	}
	return made, nil
}

func compareKeys(a, b chainKey) int {
	return strings.Compare(a.family+" "+a.table+" "+a.name, b.family+" "+b.table+" "+b.name)
}

func refusal(key chainKey, bridges []bridge, cause error) error {
	f := &fault.Error{
		Code:    "firewall-drops-pods",
		Summary: fmt.Sprintf("the host's firewall drops what pods send (chain %s %s %s) and could not be changed", key.family, key.table, key.name),
		Hint:    fmt.Sprintf("accept what comes from and goes to %s in that firewall", bridges[0].name),
		Cause:   cause,
	}
	if key.table == "firewalld" {
		// firewalld may own its table, so that only it can change what is in it.
		f.Hint = "firewall-cmd --permanent --zone=trusted"
		for _, b := range bridges {
			f.Hint += " --add-interface=" + b.name
		}
		f.Hint += " && firewall-cmd --reload"
	}
	return f
}

// Open lets pods reach all ports of containers in these ranges of Docker's networks, and in no others; see Options.Open.
func (c *Component) Open(ctx context.Context, ranges []netip.Prefix) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Equal(ranges, c.options.Open) {
		return nil
	}
	o := c.options
	o.Open = ranges
	t := newTable(o)
	if err := c.nft.apply(ctx, t.script()); err != nil {
		return fmt.Errorf("open Docker's networks to pods: %w", err)
	}
	c.options, c.plan.table = o, t
	return nil
}

// Remove takes back everything that the component made, except sysctls. It does
// not need a component that ran. It goes on after an error, and is idempotent.
func (c *Component) Remove(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := []error{c.removeRules(ctx)}
	routes, err := ownRoutes()
	errs = append(errs, err)
	for _, r := range routes {
		errs = append(errs, deleteRoute(r))
	}
	for _, b := range c.plan.bridges {
		errs = append(errs, removeBridge(b.name))
	}
	c.ports = map[string][]port{}
	return errors.Join(errs...)
}

func (c *Component) removeRules(ctx context.Context) error {
	if _, err := exec.LookPath(c.nft.path); err != nil {
		// Without nft there never were rules of ours, or it was removed with them.
		return nil
	}
	listed, err := c.nft.chains(ctx)
	if err != nil {
		return err
	}
	errs := []error{c.nft.apply(ctx, c.plan.table.removal())}
	for _, t := range listed.guardTables() {
		rs, err := c.nft.table(ctx, t)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if script := removePasses(rs); script != "" {
			errs = append(errs, c.nft.apply(ctx, script))
		}
	}
	return errors.Join(errs...)
}

func (c *Component) bridgeNames() []string {
	names := make([]string, 0, len(c.plan.bridges))
	for _, b := range c.plan.bridges {
		names = append(names, b.name)
	}
	return names
}

func (p plan) forwardsIPv6() bool {
	return slices.ContainsFunc(p.sysctls, func(s sysctl) bool { return s.path == "net/ipv6/conf/all/forwarding" })
}
