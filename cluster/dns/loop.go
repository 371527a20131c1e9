package dns

import (
	"context"
	"crypto/rand"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"
	"github.com/miekg/dns"
)

// guard finds resolvers that pass our own questions back to us, such as a dnsmasq of the host that was told to
// ask us for everything. CoreDNS' plugin loop ends the process when it finds one.
type guard struct {
	mu     sync.Mutex
	probes map[string]bool // names that are on their way, and whether they have come back
}

// probeZone is reserved for examples: nobody answers for it.
const probeZone = ".loop.boxyard.invalid."

// wrap puts the guard before a handler.
func (g *guard) wrap(next plugin.Handler) plugin.Handler {
	return plugin.HandlerFunc(func(ctx context.Context, w dns.ResponseWriter, r *dns.Msg) (int, error) {
		if g.returned(r.Question[0].Name) {
			return dns.RcodeRefused, nil
		}
		return next.ServeDNS(ctx, w, r)
	})
}

// returned notes a probe that has come back.
func (g *guard) returned(name string) bool {
	name = strings.ToLower(name)
	if !strings.HasSuffix(name, probeZone) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ours := g.probes[name]; ours {
		g.probes[name] = true
	}
	return true
}

// loops returns those of the resolvers through which a question comes back to us.
func (g *guard) loops(ctx context.Context, resolvers []string) []string {
	var (
		mu    sync.Mutex
		found []string
		wg    sync.WaitGroup
	)
	for _, resolver := range resolvers {
		wg.Go(func() {
			if g.probe(ctx, resolver) {
				mu.Lock()
				defer mu.Unlock()
				found = append(found, resolver)
			}
		})
	}
	wg.Wait()
	return found
}

func (g *guard) probe(ctx context.Context, resolver string) bool {
	name := strings.ToLower(rand.Text()) + probeZone
	g.mu.Lock()
	if g.probes == nil {
		g.probes = map[string]bool{}
	}
	g.probes[name] = false
	g.mu.Unlock()
	// Its answer does not matter, only whether the question arrives here before.
	client := &dns.Client{Timeout: 2 * time.Second}
	_, _, _ = client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(name, dns.TypeA), net.JoinHostPort(resolver, "53"))
	g.mu.Lock()
	defer g.mu.Unlock()
	back := g.probes[name]
	delete(g.probes, name)
	return back
}
