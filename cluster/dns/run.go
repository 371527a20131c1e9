package dns

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/hosts"
	"github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	"github.com/miekg/dns"
	"k8s.io/klog/v2"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/follow"
	"github.com/boxyard/boxyard/cluster/status"
)

const (
	partServer = "server"
	partNames  = "names"

	gcPercent = 40 // a few megabytes of objects, and a budget of 30 for the process
)

// process is one run.
type process struct {
	config config.DNS
	board  *status.Board
	source *source

	mu       sync.Mutex // of instance, between reload and stop
	instance *caddy.Instance
	loaded   []string // the upstreams of instance
	looping  []string // upstreams that ask us back

	guard guard
}

// Run blocks until ctx is done.
func Run(ctx context.Context, c config.DNS) error {
	debug.SetGCPercent(gcPercent)
	log.SetFlags(log.LstdFlags | log.LUTC) // CoreDNS logs through the standard package, to stderr
	if err := os.MkdirAll(c.RunDir, 0o700); err != nil {
		return fmt.Errorf("make the runtime directory: %w", err)
	}
	kube, err := clientConfig(c.Kubeconfig)
	if err != nil {
		return err
	}
	saved, err := load(c.SnapshotFile)
	if err != nil {
		klog.ErrorS(err, "Going on without the names of the last run")
	}
	source := &source{}
	if saved != nil {
		source.saved = saved
	}
	p := &process{config: c, source: source}
	register(ctx, kube, source, &p.guard)
	p.board = status.New(p.ask, partServer, partNames)
	return p.run(ctx, func(ctx context.Context) error {
		return runInformers(ctx, kube, source, func(err error) {
			p.board.Wait(partNames, "the API at "+kube.Host+" ("+err.Error()+")")
		})
	})
}

func (p *process) run(ctx context.Context, informers func(context.Context) error) error {
	run, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	if err := dnsserver.SetDirectives(directives()); err != nil {
		return err
	}
	caddy.Quiet, dnsserver.Quiet = true, true
	last := follow.Look(p.config.ResolvConf)
	if err := p.start(); err != nil {
		return err
	}
	var parts sync.WaitGroup
	for _, part := range []func(context.Context) error{
		informers,
		func(ctx context.Context) error {
			return p.board.Serve(ctx, filepath.Join(p.config.RunDir, "status.sock"))
		},
		func(ctx context.Context) error { p.followResolvers(ctx, last); return nil },
		func(ctx context.Context) error { p.keep(ctx); return nil },
	} {
		parts.Go(func() {
			if err := part(run); err != nil && run.Err() == nil {
				failed(err)
			}
		})
	}
	<-run.Done()
	parts.Wait()
	p.stop()
	if err := context.Cause(run); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (p *process) start() error {
	p.loaded = p.upstreams()
	instance, err := caddy.Start(p.input(p.loaded))
	if err != nil {
		return fmt.Errorf("start CoreDNS: %w", err)
	}
	p.instance = instance
	return nil
}

func (p *process) upstreams() []string {
	return upstreams(p.config.ResolvConf, slices.Concat(p.config.Listen, p.looping))
}

func (p *process) input(upstreams []string) caddy.Input {
	return caddy.CaddyfileInput{Contents: []byte(corefile(p.config, upstreams)), Filepath: "Corefile", ServerTypeName: "dns"}
}

// followResolvers takes over what the host's resolvers become.
func (p *process) followResolvers(ctx context.Context, last follow.Stamp) {
	p.avoidLoops(ctx)
	follow.File(ctx, p.config.ResolvConf, last, func() {
		p.mu.Lock()
		p.looping = nil
		p.reload()
		p.mu.Unlock()
		p.avoidLoops(ctx)
	})
}

// avoidLoops stops using resolvers that ask us back.
func (p *process) avoidLoops(ctx context.Context) {
	p.mu.Lock()
	loaded := p.loaded
	p.mu.Unlock()
	looping := p.guard.loops(ctx, loaded)
	if len(looping) == 0 {
		return
	}
	klog.ErrorS(nil, "Not asking resolvers that ask us back", "resolvers", looping)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looping = looping
	p.reload()
}

// reload hands the listening sockets over to new servers, so that no query is lost. Where it fails, the old
// servers go on. The caller holds mu.
func (p *process) reload() {
	wanted := p.upstreams()
	if p.instance == nil || slices.Equal(wanted, p.loaded) {
		return
	}
	klog.InfoS("The host's resolvers have changed", "resolvers", wanted)
	instance, err := p.instance.Restart(p.input(wanted))
	if err != nil {
		klog.ErrorS(err, "Going on with the old resolvers")
		return
	}
	p.instance, p.loaded = instance, wanted
}

func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.instance.ShutdownCallbacks()
	if err := p.instance.Stop(); err != nil {
		klog.ErrorS(err, "Stop CoreDNS")
	}
	p.instance = nil
}

// keep writes the snapshot, at most once a second and only after the informers have read the API: the names
// of the last run are better than half of the names.
func (p *process) keep(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	written := int64(-1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !p.source.LiveSynced() {
			continue
		}
		// The time of the last change has a resolution of a second, so the second itself is looked at again.
		if written > p.source.Modified(kubernetes.ModifiedInternal) {
			continue
		}
		now := time.Now().Unix()
		if err := save(p.config.SnapshotFile, take(p.source)); err != nil {
			klog.ErrorS(err, "Write the snapshot of the names")
			continue
		}
		written = now
	}
}

// ask is what readiness means here: a name of the cluster is answered through our own socket.
func (p *process) ask(ctx context.Context) {
	server := net.JoinHostPort(p.config.Listen[0], strconv.Itoa(p.config.Port))
	query := new(dns.Msg).SetQuestion("kubernetes.default.svc."+dns.Fqdn(p.config.ClusterDomain), dns.TypeA)
	answer, _, err := new(dns.Client).ExchangeContext(ctx, query, server)
	if err != nil {
		p.board.Wait(partServer, "an answer on "+server+" ("+err.Error()+")")
		return
	}
	p.board.Ready(partServer)
	switch {
	case len(answer.Answer) > 0:
		p.board.Ready(partNames)
	case p.source.LiveSynced():
		p.board.Wait(partNames, "the Service kubernetes to be made")
	}
}
