package containerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/process"
	"github.com/boxyard/boxyard/internal/workload"
)

const name = "containerd"

// Options is what the component needs to know. All values are final: nothing is looked up later.
type Options struct {
	Layout paths.Layout
	// Payload is the directory of the payload's binaries, by a name that outlives an upgrade
	// (the link `current`): containerd keeps the paths of runc and of the shim with each container.
	Payload string
	Version string // upstream version, for status
	Log     config.Log
	Proxy   config.Proxy // for pulling images
	Cgroup  string       // of the process itself, see process.Spec

	PauseImage   string         // sandbox image of pods, pinned: "docker.io/boxyard/pause:0.1.0"
	Bridge       string         // the pods' bridge
	PodCIDRs     []netip.Prefix // this node's pod ranges: one for IPv4, and one for IPv6 where that is on
	CgroupDriver string         // "systemd" or "cgroupfs"
	CapResource  bool           // the host grants CAP_SYS_RESOURCE
	Registries   string         // the directory with what is said of registries, see component/registries
	Ephemeral    bool           // the metadata need not outlive a power cut
	PlainCNI     bool           // pods are connected by upstream's plugins alone
	ManyShims    bool           // each pod, and each container of Docker's, has a shim of its own
	NoFilters    bool           // the one shim keeps no compiled seccomp filters
	StopGrace    time.Duration  // between SIGTERM and SIGKILL for what still runs at `down`; default 10 s
}

// Component is the supervised containerd.
type Component struct {
	process.Runner
	o       Options
	emptied atomic.Bool // containers were stopped, so that nothing needs a shim
}

// New returns the component; nothing is touched before Prepare.
func New(o Options) *Component {
	if o.StopGrace == 0 {
		o.StopGrace = 10 * time.Second
	}
	c := &Component{o: o}
	c.Runner = process.Runner{
		Spec:       c.spec,
		Probe:      c.probe,
		BeforeStop: c.beforeStop,
	}
	return c
}

// Name implements supervisor.Component.
func (c *Component) Name() string { return name }

// Requires implements supervisor.Component: the bridge must be there before a pod is, and what is said of registries
// before an image is pulled.
func (c *Component) Requires() []string { return []string{"network", "registries"} }

// Prepare writes the configuration.
func (c *Component) Prepare(context.Context) error {
	conf, err := configTOML(c.o)
	if err != nil {
		return err
	}
	network, err := cniList(c.o)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		configFile(c.o): conf,
		filepath.Join(cniDir(c.o), "10-boxyard.conflist"): network,
	}
	if err := makeDirs(c.o); err != nil {
		return err
	}
	for path, data := range files {
		if err := writeFile(path, data); err != nil {
			return err
		}
	}
	return nil
}

func (c *Component) spec(context.Context) (process.Spec, error) {
	return process.Spec{
		Name:         name,
		Path:         filepath.Join(c.o.Payload, name),
		Args:         []string{"--config", configFile(c.o)},
		Env:          environment(c.o),
		Dir:          c.o.Layout.DataOf(name),
		LogFile:      c.o.Layout.LogFile(name),
		StateDir:     c.o.Layout.ProcessDir(),
		Version:      c.o.Version,
		Cgroup:       c.o.Cgroup,
		BeforeLaunch: c.clear,
		StopTimeout:  10 * time.Second,
		Log:          c.o.Log,
	}, nil
}

// environment is the complete environment. Shims and runc inherit it, and they find each other
// and nft through PATH.
func environment(o Options) []string {
	env := []string{
		"PATH=" + o.Payload + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + o.Layout.DataOf(name),
	}
	if !o.ManyShims {
		// Read by the shim (runtime/shim). containerd too copies to its log what a shim of one container says.
		env = append(env, "BOXYARD_SHARED_SHIM_LOG="+o.Layout.LogFile(name))
		if !o.NoFilters {
			env = append(env, "BOXYARD_SHIM_FILTERS="+filepath.Join(o.Layout.RunOf(name), "filters"))
		}
	}
	return append(env, proxyEnv(o.Proxy)...)
}

func proxyEnv(p config.Proxy) []string {
	var env []string
	for _, v := range []struct{ key, value string }{
		{"HTTP_PROXY", p.HTTP}, {"HTTPS_PROXY", p.HTTPS}, {"NO_PROXY", p.NoProxy},
	} {
		if v.value != "" {
			env = append(env, v.key+"="+v.value)
		}
	}
	return env
}

// probe asks the CRI plugin, which answers when the rest of containerd does: it is the last to start. It is
// also the health check, every few seconds, and so the time to look after new containers' pipes.
func (c *Component) probe(ctx context.Context) error {
	conn, err := grpc.NewClient("unix://"+c.o.Layout.ContainerdSocket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to containerd: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, err := runtime.NewRuntimeServiceClient(conn).Status(ctx, &runtime.StatusRequest{})
	if err != nil {
		return fmt.Errorf("containerd does not answer: %w", err)
	}
	for _, cond := range status.GetStatus().GetConditions() {
		// There are more conditions, and they only warn: one is false wherever cgroups are of version 1.
		if !cond.GetStatus() && (cond.GetType() == runtime.RuntimeReady || cond.GetType() == runtime.NetworkReady) {
			return fmt.Errorf("containerd: %s is false: %s", cond.GetType(), cond.GetMessage())
		}
	}
	return workload.WidenPipes(filepath.Join(c.o.Layout.RunOf(name), "io.containerd.grpc.v1.cri", "containers"))
}

// beforeStop ends what still runs, unless it is to be kept: pods first, so that their network is
// taken down properly, then whatever Docker left behind because it was away or was stopped too hard.
func (c *Component) beforeStop(ctx context.Context, keep bool) error {
	if keep {
		return nil
	}
	socket := c.o.Layout.ContainerdSocket()
	c.emptied.Store(true)
	return errors.Join(
		workload.StopPods(ctx, socket, c.o.StopGrace),
		workload.StopTasks(ctx, socket, c.o.StopGrace),
	)
}

// Run implements supervisor.Component. The shim of all containers is ended when there is no containerd any more that
// could start it again for what it was about to begin.
func (c *Component) Run(ctx context.Context, ready func()) error {
	err := c.Runner.Run(ctx, ready)
	if !c.emptied.Swap(false) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shimLimit)
	defer cancel()
	return errors.Join(err, workload.EndShims(ctx, c.o.Layout.ContainerdSocket()))
}

// shimLimit is how long a shim without containers has for its end.
const shimLimit = 5 * time.Second

// makeDirs makes the directories before anything is in them. 0711 is containerd's own mode for
// them: containers in user namespaces pass through.
func makeDirs(o Options) error {
	for _, d := range []string{
		o.Layout.DataOf(name), o.Layout.RunOf(name), cniDir(o), ipamDir(o),
	} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("make containerd's directories: %w", err)
		}
	}
	// containerd makes its database with mode 0644 in a directory that others may pass.
	metadata := filepath.Join(o.Layout.DataOf(name), "io.containerd.metadata.v1.bolt")
	if err := os.MkdirAll(metadata, 0o700); err != nil {
		return fmt.Errorf("make containerd's directories: %w", err)
	}
	return nil
}

// writeFile leaves a file alone that is the same already: the CRI plugin reloads its network at
// every change it is told of.
func writeFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return fmt.Errorf("write containerd's configuration: %w", err)
	}
	return nil
}
