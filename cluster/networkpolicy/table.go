package networkpolicy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/knftables"
)

// busy is how long a kernel before 6.2 may still take a chain for used after its last reference is gone.
const busy = 2 * time.Second

// table is the table in the kernel, as far as we know it.
type table struct {
	node    node
	open    func() (knftables.Interface, error)
	nft     knftables.Interface // opened when it is needed first
	applied *ruleset            // nil: unknown, it may be that of our predecessor
	emptied map[string]time.Time
	removed bool
}

func newTable(n node) *table {
	return &table{node: n, open: func() (knftables.Interface, error) {
		return knftables.New(knftables.InetFamily, tableName)
	}}
}

func (t *table) ensureOpen() error {
	if t.nft != nil {
		return nil
	}
	nft, err := t.open()
	if err != nil {
		return err
	}
	t.nft = nft
	return nil
}

// apply makes the kernel's rules those that are wanted. When it fails the rules are what they were.
func (t *table) apply(ctx context.Context, want *ruleset) error {
	if err := t.ensureOpen(); err != nil {
		return err
	}
	if t.applied != nil {
		err := t.change(ctx, want)
		if err == nil {
			return nil
		}
		// Somebody may have been at the table. All of it is made anew.
	}
	tx := t.nft.NewTransaction()
	replace(tx, t.node, want)
	t.removed = false
	if err := t.nft.Run(ctx, tx); err != nil {
		t.applied = nil
		return fmt.Errorf("write the nft table %s: %w", tableName, err)
	}
	t.applied, t.emptied = want, map[string]time.Time{}
	return nil
}

func (t *table) change(ctx context.Context, want *ruleset) error {
	tx := t.nft.NewTransaction()
	change(tx, t.applied, want)
	if tx.NumOperations() > 0 {
		if err := t.nft.Run(ctx, tx); err != nil {
			return err
		}
	}
	now := time.Now()
	for name := range t.applied.chains {
		if want.chains[name] == nil {
			t.emptied[name] = now
		}
	}
	for name := range want.chains {
		delete(t.emptied, name)
	}
	t.applied = want
	return t.sweep(ctx, now)
}

// sweep deletes chains that are empty for long enough.
func (t *table) sweep(ctx context.Context, now time.Time) error {
	tx := t.nft.NewTransaction()
	for _, name := range sorted(t.emptied) {
		if now.Sub(t.emptied[name]) > busy {
			tx.Delete(&knftables.Chain{Name: name})
			delete(t.emptied, name)
		}
	}
	if tx.NumOperations() == 0 {
		return nil
	}
	return t.nft.Run(ctx, tx)
}

// remove takes the table away, which costs nothing when that is done already.
func (t *table) remove(ctx context.Context) error {
	if t.removed {
		return nil
	}
	if err := t.ensureOpen(); err != nil {
		return err
	}
	tx := t.nft.NewTransaction()
	remove(tx)
	if err := t.nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("remove the nft table %s: %w", tableName, err)
	}
	t.applied, t.removed = nil, true
	return nil
}

// verify looks whether the table is there still, and has it made anew when it is not.
func (t *table) verify(ctx context.Context) {
	if t.applied == nil {
		return
	}
	chains, err := t.nft.List(ctx, "chains")
	if err != nil && !knftables.IsNotFound(err) || errors.Is(err, context.Canceled) {
		return // the next change tells
	}
	for _, hook := range []knftables.BaseChainHook{knftables.ForwardHook, knftables.InputHook} {
		if !slices.Contains(chains, string(hook)) {
			t.applied = nil
		}
	}
}
