package dockerd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/moby/moby/client"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/nft"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/process"
	"github.com/boxyard/boxyard/internal/workload"
)

const name = "dockerd"

// Options is what the component needs to know. All values are final: nothing is looked up later.
type Options struct {
	Layout paths.Layout
	// Payload is the directory of the payload's binaries, by a name that outlives an upgrade (the link `current`).
	Payload string
	Version string // upstream version, for status
	Log     config.Log
	Proxy   config.Proxy
	Cgroup  string // of the process itself, see process.Spec

	Bridge       string       // the default network's bridge; made before, with its address
	CIDR         netip.Prefix // its IPv4 network
	CIDR6        netip.Prefix // its IPv6 network; the zero Prefix leaves IPv6 off there, as upstream has it
	Pool         netip.Prefix // user-defined networks are cut from it
	DNS          []netip.Addr // containers' name servers; none: the host's
	PodMark      uint32       // the packet mark of pods, to which ports are open that are not published; 0: they are not
	BuildCache   BuildCache   // what builds keep
	CgroupRoot   string       // config.Config.CgroupRoot
	CgroupDriver string       // "systemd" or "cgroupfs"

	LentNFT    nft.Lent // processes of nft that stay, for dockerd
	NFT        string   // path of nft; "" gives up holding published ports while dockerd restarts
	GID        int      // group of the socket
	PublicLink string   // /var/run/docker.sock; "" where the layout is not the machine's ordinary one
	Socket     string   // config.Docker.Socket: what to do about PublicLink
	// Access lets the users in who may use the socket; it is called once dockerd listens. Nil leaves it to GID.
	Access func(socket string) error
}

// BuildCache bounds what BuildKit keeps.
type BuildCache struct {
	ReservedBytes int64 // are kept whatever happens
	MaxBytes      int64 // are kept at most
	MinFreeBytes  int64 // of the file system are to stay free
}

// Component is the supervised dockerd.
type Component struct {
	process.Runner
	o Options

	mu       sync.Mutex
	insecure []string // see SetInsecureRegistries
	applied  []string // what dockerd was told of them last
	serving  bool     // dockerd is ready, and not asked to stop yet
}

// New returns the component; nothing is touched before Prepare.
func New(o Options) *Component {
	c := &Component{o: o}
	c.Runner = process.Runner{
		Spec:       c.spec,
		Probe:      c.probe,
		AfterReady: c.afterReady,
		BeforeStop: c.beforeStop,
	}
	return c
}

// Name implements supervisor.Component.
func (c *Component) Name() string { return name }

// Requires implements supervisor.Component.
func (c *Component) Requires() []string { return []string{"containerd", "network"} }

// Run runs dockerd, and beside it what keeps dockerd's view of its containers true.
func (c *Component) Run(ctx context.Context, ready func()) error {
	watchCtx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		w := exitWatch{containerd: c.o.Layout.ContainerdSocket(), docker: c.o.Layout.DockerSocket(), settled: c.afterContainerd}
		w.run(watchCtx)
	})
	defer watch.Wait()
	defer cancel()
	defer c.notServing()
	return c.Runner.Run(ctx, ready)
}

// Prepare writes daemon.json, looks whether the public socket can be had, and holds published ports open.
func (c *Component) Prepare(ctx context.Context) error {
	if err := checkLink(c.o); err != nil {
		return err
	}
	// 0700: dockerd makes the socket of its metrics in there with mode 0777.
	if err := os.MkdirAll(c.o.Layout.RunOf(name), 0o700); err != nil {
		return fmt.Errorf("make dockerd's directory: %w", err)
	}
	if err := os.MkdirAll(c.o.Layout.DataOf("docker"), 0o710); err != nil {
		return fmt.Errorf("make dockerd's directory: %w", err)
	}
	if err := os.MkdirAll(mountsDir(c.o), 0o700); err != nil {
		return fmt.Errorf("make dockerd's directory: %w", err)
	}
	if err := c.configure(true); err != nil {
		return err
	}
	if c.o.NFT == "" {
		return nil
	}
	if err := hold(ctx, c.o.NFT); err != nil {
		// A moment without published ports is better than no dockerd.
		slog.WarnContext(ctx, "published ports are not held while dockerd starts", "error", err)
	}
	return nil
}

func (c *Component) spec(context.Context) (process.Spec, error) {
	return process.Spec{
		Name:         name,
		Path:         filepath.Join(c.o.Payload, name),
		Args:         arguments(c.o),
		Env:          environment(c.o),
		Dir:          c.o.Layout.DataOf("docker"),
		LogFile:      c.o.Layout.LogFile(name),
		StateDir:     c.o.Layout.ProcessDir(),
		Version:      c.o.Version,
		Cgroup:       c.o.Cgroup,
		BeforeLaunch: c.clear,
		// Longer than dockerd takes to stop containers with an ordinary stop timeout.
		StopTimeout: (shutdownSeconds + 15) * time.Second,
		Log:         c.o.Log,
	}, nil
}

// environment is the complete environment. PATH leads to runc, nft, and git for build contexts.
func environment(o Options) []string {
	return o.LentNFT.Environ([]string{
		"PATH=" + o.Payload + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + o.Layout.DataOf("docker"),
		// Where temporary mounts are made (containerd core/mount, from BuildKit and dockerd); the next start finds
		// there what a kill has left. For its other temporary files dockerd has a directory of its own.
		"TMPDIR=" + mountsDir(o),
		// Published ports without docker-proxy want br_netfilter. The component network loads it where the
		// kernel has it; elsewhere a container cannot reach its neighbour by a published port, and the rest works.
		"DOCKER_IGNORE_BR_NETFILTER_ERROR=1",
	})
}

// probe pings: dockerd listens early, but answers when containers and networks are restored. It is
// also the health check, every few seconds, and so the time to look after new containers' pipes.
func (c *Component) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cli, err := client.New(client.WithHost("unix://" + c.o.Layout.DockerSocket()))
	if err != nil {
		return fmt.Errorf("connect to dockerd: %w", err)
	}
	defer cli.Close()
	if _, err := cli.Ping(ctx, client.PingOptions{}); err != nil {
		return fmt.Errorf("dockerd does not answer: %w", err)
	}
	return workload.WidenPipes(filepath.Join(c.o.Layout.RunOf(name), "containerd"))
}

func (c *Component) afterReady(ctx context.Context) error {
	if c.o.NFT != "" {
		if err := release(ctx, c.o.NFT); err != nil {
			return fmt.Errorf("release published ports: %w", err)
		}
	}
	if c.o.Access != nil {
		if err := c.o.Access(c.o.Layout.DockerSocket()); err != nil {
			return err
		}
	}
	if err := makeLink(c.o); err != nil {
		return err
	}
	return c.nowServing()
}

// beforeStop decides what SIGTERM will mean. dockerd leaves containers running as long as
// live-restore is on; for an ordinary stop it is turned off in the running dockerd, which
// then stops them as a shutdown does, so that restart policies bring them back later.
func (c *Component) beforeStop(ctx context.Context, keep bool) error {
	c.notServing()
	if err := RemoveLink(c.o.PublicLink, c.o.Layout.DockerSocket()); err != nil {
		return err
	}
	if keep {
		return nil
	}
	if err := c.configure(false); err != nil {
		return err
	}
	// While dockerd starts, the signal would end it, and containers of an earlier life would go on.
	answers := func(client.SystemInfoResult) bool { return true }
	if err := untilInfo(ctx, c.o.Layout.DockerSocket(), answers); err != nil {
		return errors.Join(errors.New("dockerd does not answer, containers may go on"), err)
	}
	if err := c.reload(); err != nil {
		return err
	}
	off := func(answer client.SystemInfoResult) bool { return !answer.Info.LiveRestoreEnabled }
	if err := untilInfo(ctx, c.o.Layout.DockerSocket(), off); err != nil {
		return errors.Join(errors.New("dockerd did not turn live-restore off, containers may go on"), err)
	}
	return nil
}

// untilInfo asks dockerd about itself until good says so, for five seconds.
func untilInfo(ctx context.Context, socket string, good func(client.SystemInfoResult) bool) error {
	cli, err := client.New(client.WithHost("unix://" + socket))
	if err != nil {
		return fmt.Errorf("connect to dockerd: %w", err)
	}
	defer cli.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := cli.Info(ctx, client.InfoOptions{})
		if err == nil && good(answer) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}
