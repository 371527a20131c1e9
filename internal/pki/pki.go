package pki

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Params says what the certificates are for. Changing NodeName, NodeIPs or ServiceIPs renews the
// leaves that contain them.
type Params struct {
	Dir        string // absolute; made with mode 0700
	NodeName   string
	NodeIPs    []net.IP
	ServiceIPs []net.IP // the first address of each service range
	APIPort    int

	Clock    func() time.Time // nil: time.Now
	LeafLife time.Duration    // 0: one year
	CALife   time.Duration    // 0: ten years
}

const (
	year = 365 * 24 * time.Hour
	// A laptop's sleep does not advance timers, so the wall clock is looked at this often.
	longestWait  = time.Hour
	shortestWait = time.Second
)

func (p Params) withDefaults() Params {
	if p.Clock == nil {
		p.Clock = time.Now
	}
	if p.LeafLife == 0 {
		p.LeafLife = year
	}
	if p.CALife == 0 {
		p.CALife = 10 * year
	}
	return p
}

func (p Params) path(name string) string { return filepath.Join(p.Dir, filepath.FromSlash(name)) }

// Ensure makes what is missing and renews the leaves that are past two thirds of their life or that
// no longer fit p or their authority. It returns the sorted names ("apiserver", "etcd/server") of the
// leaves it wrote, those made for the first time included. An authority, the service-account key or
// the encryption key that is damaged, incomplete or expired is a fault.Error and is left as it is.
func Ensure(p Params) (renewed []string, err error) {
	renewed, _, err = ensure(p.withDefaults())
	return renewed, err
}

// Run calls Ensure at once and whenever a leaf is due, until ctx is done; then it returns nil.
// renewed is called with the names that Ensure returned, if any. Run ends with the first error.
func Run(ctx context.Context, p Params, renewed func([]string)) error {
	p = p.withDefaults()
	for {
		names, next, err := ensure(p)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			renewed(names)
		}
		timer := time.NewTimer(min(max(next.Sub(p.Clock()), shortestWait), longestWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// ensure is Ensure, and says when the next leaf is due.
func ensure(p Params) (renewed []string, next time.Time, err error) {
	if err := makeDirs(p); err != nil {
		return nil, time.Time{}, err
	}
	// Stored data depends on these two keys. They come before the cluster's CA, whose certificate is
	// therefore the proof that they were there once.
	if err := ensureEncryption(p); err != nil {
		return nil, time.Time{}, err
	}
	if err := ensureServiceAccount(p); err != nil {
		return nil, time.Time{}, err
	}
	cas := map[string]*pair{}
	for _, a := range authorities() {
		ca, err := ensureAuthority(p, a)
		if err != nil {
			return nil, time.Time{}, err
		}
		cas[a.name] = ca
	}
	renewed, next, err = ensureLeaves(p, cas)
	if err != nil {
		return nil, time.Time{}, err
	}
	if err := ensureKubeconfigs(p); err != nil {
		return nil, time.Time{}, err
	}
	return renewed, next, nil
}

// ensureLeaves works on several leaves at once: a first start waits for some sixty fsyncs, which a
// journal serves together.
func ensureLeaves(p Params, cas map[string]*pair) (renewed []string, next time.Time, err error) {
	var (
		mu    sync.Mutex
		group errgroup.Group
	)
	group.SetLimit(8)
	for _, l := range leaves(p) {
		group.Go(func() error {
			wrote, due, err := ensureLeaf(p, l, cas[l.ca])
			if err != nil {
				return fmt.Errorf("certificate %s: %w", l.name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if wrote {
				renewed = append(renewed, l.name)
			}
			if next.IsZero() || due.Before(next) {
				next = due
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, time.Time{}, err
	}
	slices.Sort(renewed)
	return renewed, next, nil
}

func makeDirs(p Params) error {
	for _, dir := range []string{p.Dir, p.path("etcd"), p.path("images")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make certificate directory: %w", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("make certificate directory: %w", err)
		}
	}
	return nil
}
