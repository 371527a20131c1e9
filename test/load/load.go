package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"
)

// Mode is how connections are used.
type Mode string

// KeepAlive sends many requests over each connection, New opens one for each request.
const (
	KeepAlive Mode = "keepalive"
	New       Mode = "new"
)

// What one run may do at most.
const (
	maxRate     = 2000
	maxDuration = 30 * time.Minute
)

// Plan is what to send. Rate requests are sent per second for Duration.
type Plan struct {
	Name     string // of the series, in the CSV; may be empty
	URL      string // http only
	Rate     int    // requests per second
	Duration time.Duration
	Mode     Mode
	Workers  int           // connections at most; 0 takes 16
	Timeout  time.Duration // of one request, connecting included; 0 takes 5s
	// LookupEach resolves the URL's host name anew for each request, in KeepAlive mode too. A
	// failed lookup is a failed request.
	LookupEach bool
	// DNS is the host:port of the name server to ask; empty asks the system's.
	DNS string
	// Expect must be part of the answer's body, if set.
	Expect string
	// Dial opens connections, to literal addresses only; nil takes net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Result is one request. Latency counts from the moment it was due.
type Result struct {
	Series  string
	Due     time.Time
	Latency time.Duration
	Status  int    // 0: no answer
	Err     string // "" for an answer of status 2xx with the expected body
}

// Run sends what the plan says and returns a result for each request, in the order they were
// due. When ctx ends it stops early, without an error, and returns what was due until then.
func Run(ctx context.Context, plan Plan) ([]Result, error) {
	target, err := plan.check()
	if err != nil {
		return nil, err
	}
	total := int(plan.Duration.Seconds() * float64(plan.Rate))
	results := make([]Result, total)
	due := make(chan int, total)
	var workers sync.WaitGroup
	start := time.Now()
	dueAt := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second / time.Duration(plan.Rate)) }
	for range plan.Workers {
		workers.Go(func() {
			c := newClient(plan, target)
			defer c.close()
			for i := range due {
				// Not ctx: what was due is carried out, within the request's own timeout.
				status, err := c.get(context.WithoutCancel(ctx))
				results[i] = Result{Series: plan.Name, Due: dueAt(i), Latency: time.Since(dueAt(i)), Status: status}
				if err != nil {
					results[i].Err = err.Error()
				}
			}
		})
	}
	sent := feed(ctx, total, dueAt, due)
	close(due)
	workers.Wait()
	return results[:sent], nil
}

// feed hands out each request when it is due, and returns how many it handed out.
func feed(ctx context.Context, total int, dueAt func(int) time.Time, due chan<- int) int {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range total {
		timer.Reset(time.Until(dueAt(i)))
		select {
		case <-ctx.Done():
			return i
		case <-timer.C:
			due <- i
		}
	}
	return total
}

// check fills in the defaults and refuses what would be unbounded or meaningless.
func (p *Plan) check() (*url.URL, error) {
	if p.Workers == 0 {
		p.Workers = 16
	}
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Second
	}
	target, err := url.Parse(p.URL)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	switch {
	case target.Scheme != "http" || target.Host == "":
		return nil, fmt.Errorf("load: url %q: want http://host[:port]/path", p.URL)
	case p.Mode != KeepAlive && p.Mode != New:
		return nil, fmt.Errorf("load: mode %q: want %s or %s", p.Mode, KeepAlive, New)
	case p.Rate < 1 || p.Rate > maxRate:
		return nil, fmt.Errorf("load: rate %d: want 1 to %d", p.Rate, maxRate)
	case p.Duration <= 0 || p.Duration > maxDuration:
		return nil, fmt.Errorf("load: duration %v: want up to %v", p.Duration, maxDuration)
	case p.Workers < 1 || p.Workers > 256:
		return nil, errors.New("load: want 1 to 256 workers")
	}
	return target, nil
}
