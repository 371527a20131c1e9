package dns

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/process"
	"github.com/boxyard/boxyard/internal/readiness"
)

const name = "dns"

// Component is the supervised dns process.
type Component struct {
	process.Runner
	o Options
}

// New returns the component; nothing is touched before Prepare.
func New(o Options, log config.Log) *Component {
	c := &Component{o: o}
	c.Runner = process.Runner{
		Spec: func(context.Context) (process.Spec, error) {
			return process.Spec{
				Name:        name,
				Path:        o.Binary,
				Args:        []string{"--config", configFile(o)},
				Env:         o.Env,
				Dir:         o.Layout.DataOf(name),
				LogFile:     o.Layout.LogFile(name),
				StateDir:    o.Layout.ProcessDir(),
				Version:     o.Version,
				Cgroup:      o.Cgroup,
				StopTimeout: 15 * time.Second,
				Log:         log,
			}, nil
		},
		Probe: func(ctx context.Context) error { return readiness.Get(ctx, StatusSocket(o)) },
	}
	return c
}

// Name implements supervisor.Component.
func (c *Component) Name() string { return name }

// Requires implements supervisor.Component. It listens on the bridge's address, and reads the file of names; it starts
// beside the cluster, not after it, because names must also resolve while the cluster is away.
func (c *Component) Requires() []string { return []string{"network", "names"} }

// Prepare writes dns.json.
func (c *Component) Prepare(context.Context) error {
	for _, dir := range []string{c.o.Layout.DataOf(name), c.o.Layout.RunOf(name)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make dns' directories: %w", err)
		}
	}
	data, err := NewConfig(c.o).encode()
	if err != nil {
		return fmt.Errorf("encode dns.json: %w", err)
	}
	return atomicfile.Write(configFile(c.o), data, 0o600)
}

func configFile(o Options) string { return filepath.Join(o.Layout.RunOf(name), "dns.json") }

// StatusSocket can be dialled for as long as the process lives.
func StatusSocket(o Options) string { return filepath.Join(o.Layout.RunOf(name), "status.sock") }
