package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/host"
	"github.com/boxyard/boxyard/internal/process"
	"github.com/boxyard/boxyard/internal/readiness"
)

const name = "cluster"

// Component is the supervised cluster process.
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
				Name:     name,
				Path:     o.Binary,
				Args:     []string{"--config", configFile(o)},
				Env:      o.Env,
				Dir:      o.Layout.DataOf(name),
				LogFile:  o.Layout.LogFile(name),
				StateDir: o.Layout.ProcessDir(),
				Version:  o.Version,
				Cgroup:   o.Cgroup,
				// It promises to end within 10 s of SIGTERM (ARCHITECTURE.md, "Contracts").
				StopTimeout: 15 * time.Second,
				Log:         log,
			}, nil
		},
		Probe: func(ctx context.Context) error { return readiness.Get(ctx, statusSocket(o)) },
	}
	return c
}

// Name implements supervisor.Component.
func (c *Component) Name() string { return name }

// Requires implements supervisor.Component. The process starts its kubelet when containerd answers, and what takes
// longer, the API, before.
func (c *Component) Requires() []string { return []string{"network"} }

// StopsBefore implements supervisor.Predecessor: the kubelet would miss its runtime.
func (c *Component) StopsBefore() []string { return []string{"containerd"} }

// leastDisk is what etcd cannot do without: the pages of a few commits. Without space it ends its process at the
// first write, with its reason in the midst of a log.
const leastDisk = 16 << 20

// Prepare writes cluster.json.
func (c *Component) Prepare(context.Context) error {
	for dir, mode := range map[string]os.FileMode{
		c.o.Layout.DataOf(name): 0o700,
		c.o.Layout.RunOf(name):  0o700,
	} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return fmt.Errorf("make the cluster's directories: %w", err)
		}
	}
	if err := host.DiskFull(c.o.Layout.DataOf(name), leastDisk); err != nil {
		return err
	}
	if err := c.o.Audit.check(); err != nil {
		return err
	}
	data, err := NewConfig(c.o).encode()
	if err != nil {
		return fmt.Errorf("encode cluster.json: %w", err)
	}
	return atomicfile.Write(configFile(c.o), data, 0o600)
}

func configFile(o Options) string   { return filepath.Join(o.Layout.RunOf(name), "cluster.json") }
func statusSocket(o Options) string { return filepath.Join(o.Layout.RunOf(name), "status.sock") }
