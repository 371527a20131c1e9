package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/boxyard/boxyard/internal/atomicfile"
	configfile "github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/host"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/process"
	"github.com/boxyard/boxyard/internal/readiness"
	"github.com/boxyard/boxyard/internal/registry"
)

const name = "registry"

// CachePort is the TCP port of the caches on 127.0.0.1, beside that of the image mirror.
const CachePort = 10242

// How long a change may take until the process answers; pruning reads every manifest.
const (
	changeTimeout = 15 * time.Second
	pruneTimeout  = 10 * time.Minute
)

// Options is what the daemon knows about this instance.
type Options struct {
	Layout     paths.Layout
	Binary     string // the payload's registry
	Version    string // the distribution project's, for status
	Log        configfile.Log
	Cgroup     string   // of the process itself; "" leaves it in ours
	Env        []string // of the process, complete
	Registries string   // the directory in which it is said how registries are reached
}

// Component is the supervised process, while there is something for it to do.
type Component struct {
	process.Runner
	o       Options
	changed chan struct{} // has one when the process runs with what is no longer wanted

	change  sync.Mutex // held for the length of one change
	mu      sync.Mutex
	said    settings
	serving chan struct{} // closed while the process answers, with what is said
	warning string        // what could not be made known
}

// New returns the component; nothing is touched before Prepare.
func New(o Options) *Component {
	c := &Component{o: o, changed: make(chan struct{}, 1), serving: make(chan struct{})}
	c.Runner = process.Runner{
		Spec: func(context.Context) (process.Spec, error) {
			return process.Spec{
				Name: name, Path: o.Binary, Args: []string{"--config", configFile(o)}, Env: o.Env, Dir: dataDir(o),
				LogFile: o.Layout.LogFile(name), StateDir: o.Layout.ProcessDir(), Version: o.Version, Cgroup: o.Cgroup,
				StopTimeout: 10 * time.Second, Log: o.Log,
			}, nil
		},
		Probe: func(ctx context.Context) error {
			return readiness.Get(ctx, filepath.Join(o.Layout.RunOf(name), "status.sock"))
		},
	}
	return c
}

func dataDir(o Options) string      { return o.Layout.DataOf(name) }
func settingsFile(o Options) string { return filepath.Join(dataDir(o), "settings.json") }
func configFile(o Options) string   { return filepath.Join(o.Layout.RunOf(name), "registry.json") }
func htpasswdFile(o Options) string { return filepath.Join(o.Layout.RunOf(name), "htpasswd") }

// Name implements supervisor.Component.
func (c *Component) Name() string { return name }

// Requires implements supervisor.Component.
func (c *Component) Requires() []string { return nil }

// Prepare reads what was asked for, and makes the caches known.
func (c *Component) Prepare(context.Context) error {
	s, err := readSettings(settingsFile(c.o))
	if err != nil {
		return fmt.Errorf("read the registry's settings: %w", err)
	}
	c.mu.Lock()
	c.said = s
	c.mu.Unlock()
	if !s.wanted() {
		return nil
	}
	// Where a user has written something since, the registry and the other caches go on.
	if err := c.mirrors(s.Caches); err != nil {
		c.mu.Lock()
		c.warning = err.Error()
		c.mu.Unlock()
	}
	return c.configure(s, false)
}

// configure writes the files that the process reads when it starts.
func (c *Component) configure(s settings, prune bool) error {
	for _, dir := range []string{dataDir(c.o), c.o.Layout.RunOf(name)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the registry's directories: %w", err)
		}
	}
	conf := newConfig(c.o, s)
	conf.Prune = prune
	data, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return fmt.Errorf("encode registry.json: %w", err)
	}
	return errors.Join(
		atomicfile.Write(htpasswdFile(c.o), []byte(s.Htpasswd), 0o600),
		atomicfile.Write(configFile(c.o), append(data, '\n'), 0o600),
	)
}

// Wanted says whether there is anything to run.
func (c *Component) Wanted() bool { return c.settings().wanted() }

// Warning implements supervisor.Warner.
func (c *Component) Warning() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.warning
}

// CheckHealth implements supervisor.HealthChecker: what is not wanted is well.
func (c *Component) CheckHealth(ctx context.Context) error {
	if !c.Wanted() {
		return nil
	}
	return c.Runner.CheckHealth(ctx)
}

func (c *Component) settings() settings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// Run runs the process while it is wanted, anew after each change. A process that ends by itself ends Run.
func (c *Component) Run(ctx context.Context, ready func()) error {
	for {
		if !c.Wanted() {
			ready()
			select {
			case <-ctx.Done():
				return nil
			case <-c.changed:
				continue
			}
		}
		err, again := c.once(ctx, ready)
		if !again {
			return err
		}
	}
}

// once runs the process until ctx is done, it ends, or something else is wanted.
func (c *Component) once(ctx context.Context, ready func()) (err error, again bool) {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Runner.Run(running, func() {
			ready()
			c.answers(true)
		})
	}()
	select {
	case err = <-ended:
		c.answers(false)
		return err, false
	case <-c.changed:
		c.answers(false)
		stop(nil)
		return <-ended, ctx.Err() == nil
	}
}

// answers opens and closes the gate that a change waits at.
func (c *Component) answers(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.serving:
		if !yes {
			c.serving = make(chan struct{})
		}
	default:
		if yes {
			close(c.serving)
		}
	}
}

// Change does what a user asks for, and returns when it is done: the process answers, or is gone. Its errors for users
// are *fault.Error; nothing has changed then.
func (c *Component) Change(ctx context.Context, change registry.Change) (registry.State, error) {
	if err := change.Check(); err != nil {
		return registry.State{}, err
	}
	c.change.Lock()
	defer c.change.Unlock()
	before := c.settings()
	after := before.with(change)
	if err := c.possible(ctx, change, before, after); err != nil {
		return registry.State{}, err
	}
	if err := c.apply(after, change.Prune); err != nil {
		return registry.State{}, fmt.Errorf("change the registry: %w", err)
	}
	if err := c.await(ctx, after, change.Prune); err != nil {
		// What was there before is wanted again.
		return registry.State{}, errors.Join(err, c.apply(before, false))
	}
	if change.Prune {
		// The next start is an ordinary one.
		if err := c.configure(after, false); err != nil {
			return registry.State{}, err
		}
	}
	// Who pulls is led to a cache that is there, and away from one before it goes for good.
	if err := c.mirrors(after.Caches); err != nil {
		return registry.State{}, err
	}
	c.mu.Lock()
	c.warning = ""
	c.mu.Unlock()
	if change.RemoveCache != "" {
		if err := os.RemoveAll(cacheDir(c.o, change.RemoveCache)); err != nil {
			return registry.State{}, fmt.Errorf("remove the cache of %s: %w", change.RemoveCache, err)
		}
	}
	return c.State()
}

// apply makes these the settings, and has the process start with them.
func (c *Component) apply(s settings, prune bool) error {
	if err := errors.Join(s.write(settingsFile(c.o)), c.configure(s, prune)); err != nil {
		return err
	}
	c.answers(false)
	c.mu.Lock()
	c.said = s
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default: // one that is waiting is enough
	}
	return nil
}

func cacheDir(o Options, name string) string { return filepath.Join(dataDir(o), "caches", name) }

// possible looks before anything changes.
func (c *Component) possible(ctx context.Context, change registry.Change, before, after settings) error {
	if change.AddCache != nil {
		if err := c.free(change.AddCache.Registry); err != nil {
			return err
		}
	}
	if change.RemoveCache != "" && !slices.ContainsFunc(before.Caches, func(r registry.Cache) bool { return r.Registry == change.RemoveCache }) {
		return &fault.Error{
			Code: "no-such-cache", Summary: "there is no cache of " + change.RemoveCache, Hint: "boxyard registry status lists those that there are",
		}
	}
	if change.Prune && !after.On {
		return &fault.Error{Code: "registry-off", Summary: "the registry is off", Hint: "boxyard registry on"}
	}
	if after.On && (!before.On || before.Port != after.Port) {
		if err := canListen(ctx, after.Port, "boxyard registry on --port 5001", "127.0.0.1", "::1"); err != nil {
			return err
		}
	}
	if len(after.Caches) > 0 && len(before.Caches) == 0 {
		return canListen(ctx, CachePort, "stop it: all caches are behind this port", "127.0.0.1")
	}
	return nil
}

// canListen fails where somebody else has the port on one of the addresses. One that the host has not is not missed.
func canListen(ctx context.Context, port int, hint string, addresses ...string) error {
	for _, address := range addresses {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			return &fault.Error{
				Code: "port-in-use", Summary: fmt.Sprintf("port %d is in use by %s", port, host.LoopbackHolder(port)), Hint: hint, Cause: err,
			}
		}
		if err := listener.Close(); err != nil {
			return err
		}
	}
	return nil
}

// await returns when the process answers, where one is wanted.
func (c *Component) await(ctx context.Context, s settings, prune bool) error {
	if !s.wanted() {
		return nil
	}
	patience := changeTimeout
	if prune {
		patience = pruneTimeout
	}
	c.mu.Lock()
	serving := c.serving
	c.mu.Unlock()
	select {
	case <-serving:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(patience):
		return &fault.Error{
			Code: "registry-not-ready", Summary: fmt.Sprintf("the registry does not answer after %v", patience),
			Hint: "boxyard logs registry",
		}
	}
}

// State says how things are.
func (c *Component) State() (registry.State, error) {
	s := c.settings()
	state := registry.State{
		On: s.On, Address: net.JoinHostPort("localhost", strconv.Itoa(s.Port)), TLS: s.TLS, Password: s.Htpasswd != "",
		Bytes: size(filepath.Join(dataDir(c.o), "main")), Caches: []registry.CacheState{},
	}
	c.mu.Lock()
	select {
	case <-c.serving:
		state.Ready = true
	default:
	}
	c.mu.Unlock()
	for _, cache := range s.Caches {
		state.Caches = append(state.Caches, registry.CacheState{
			Registry: cache.Registry, URL: cache.Upstream(), Username: cache.Username, MaxBytes: cache.MaxBytes,
			Bytes: size(cacheDir(c.o, cache.Registry)),
		})
	}
	authority, err := os.ReadFile(filepath.Join(c.o.Layout.PKIDir(), "images", "ca.crt"))
	if err != nil {
		return state, fmt.Errorf("read the certificate authority: %w", err)
	}
	state.Authority = string(authority)
	return state, nil
}

// size adds up the files below a directory; what goes meanwhile does not count.
func size(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
