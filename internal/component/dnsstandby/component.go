package dnsstandby

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

const name = "dns-standby"

// Options is what the daemon knows about this instance.
type Options struct {
	Listen       []netip.Addr
	Port         int
	SnapshotFile string // written by the dns process
	HostsFile    string // the names under docker.internal, see component/names
	ResolvConf   string
	StatusSocket string // of the dns process; it can be dialled as long as that process lives
	Logger       *slog.Logger
}

// Component is the stand-in, supervised.
type Component struct {
	o Options
}

// New returns the component; nothing is touched before Run.
func New(o Options) *Component { return &Component{o: o} }

// Name implements supervisor.Component.
func (c *Component) Name() string { return name }

// Requires implements supervisor.Component: the bridge has the addresses.
func (c *Component) Requires() []string { return []string{"network", "names"} }

// Prepare implements supervisor.Component.
func (c *Component) Prepare(context.Context) error { return nil }

// Run holds the sockets until ctx is done or one of them fails.
func (c *Component) Run(ctx context.Context, ready func()) error {
	answers := newAnswerer(c.o)
	failed := make(chan error, 2*len(c.o.Listen))
	var servers []*dns.Server
	defer func() {
		for _, server := range servers {
			// A server that never started has nothing to shut down.
			_ = server.Shutdown()
		}
	}()
	for _, address := range c.o.Listen {
		at := net.JoinHostPort(address.String(), fmt.Sprint(c.o.Port))
		group := newGroup(c.o.StatusSocket)
		packets, err := group.listenPacket(ctx, at)
		if err != nil {
			return fmt.Errorf("hold %s: %w", at, err)
		}
		streams := newGroup(c.o.StatusSocket)
		listener, err := streams.listen(ctx, at)
		if err != nil {
			return errors.Join(fmt.Errorf("hold %s: %w", at, err), packets.Close())
		}
		servers = append(servers,
			&dns.Server{PacketConn: packets, Handler: c.handler(answers, group)},
			&dns.Server{Listener: listener, Handler: c.handler(answers, streams)})
	}
	for _, server := range servers {
		go func() { failed <- server.ActivateAndServe() }()
	}
	ready()
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return fmt.Errorf("answer in place of dns: %w", err)
	}
}

func (c *Component) handler(answers *answerer, group *group) dns.Handler {
	return dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		// A query that comes here while the dns process lives means that the kernel chose the wrong
		// socket of the two: their order depends on who was there first.
		if err := group.yield(); err != nil {
			c.o.Logger.Warn("Queries cannot be given back to the dns process", "error", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		if err := w.WriteMsg(answers.answer(ctx, query)); err != nil {
			c.o.Logger.Debug("A DNS client has gone before its answer", "error", err)
		}
	})
}
