package dockerd

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/containerd/containerd/v2/core/leases"
)

type fakeLeases struct {
	leases.Manager
	held      []leases.Lease
	resources map[string][]leases.Resource
	deleted   []string
}

func (f *fakeLeases) List(context.Context, ...string) ([]leases.Lease, error) { return f.held, nil }

func (f *fakeLeases) ListResources(_ context.Context, l leases.Lease) ([]leases.Resource, error) {
	return f.resources[l.ID], nil
}

func (f *fakeLeases) Delete(_ context.Context, l leases.Lease, _ ...leases.DeleteOpt) error {
	f.deleted = append(f.deleted, l.ID)
	return nil
}

func TestClearLeases(t *testing.T) {
	const known, forgotten = "aaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbb"
	const committing, committed = "eeeeeeeeeeeeeeeeeeeeeeeee", "fffffffffffffffffffffffff"
	file := filepath.Join(t.TempDir(), "metadata_v2.db")
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		main, err := tx.CreateBucket([]byte("_main"))
		if err != nil {
			return err
		}
		_, err = main.CreateBucket([]byte(known))
		for _, name := range []string{committing, committed} {
			record, errCreate := main.CreateBucket([]byte(name))
			if err = errors.Join(err, errCreate); err == nil {
				err = record.Put([]byte("cache.equalMutable"), []byte(`{"value":"x"}`))
			}
		}
		return err
	})
	if err != nil || db.Close() != nil {
		t.Fatal(err)
	}
	flat := map[string]string{labelFlat: "2026-01-01T00:00:00Z"}
	holds := func(snapshot string) []leases.Resource {
		return []leases.Resource{{ID: snapshot, Type: "snapshots/overlayfs"}}
	}
	manager := &fakeLeases{resources: map[string][]leases.Resource{committing: holds("none"), committed: holds("there"), known: holds("none")}}
	there := func(_ context.Context, name string) (bool, error) { return name == "there", nil }
	held := []leases.Lease{
		{ID: committing, Labels: flat},
		{ID: committed, Labels: flat},
		{ID: known, Labels: flat},
		{ID: known + "-view", Labels: flat},
		{ID: forgotten, Labels: flat},
		{ID: forgotten + "-variants", Labels: flat},
		{ID: "boxyard-images", Labels: flat},
		{ID: "ccccccccccccccccccccccccc"}, // without the label it is another's
		{ID: "ddddddddddddddddddddddddd", Labels: map[string]string{labelFlat: "x", labelExpire: "2026-01-02T00:00:00Z"}},
	}
	if err := clearLeases(t.Context(), file, manager, held, there); err != nil {
		t.Fatal(err)
	}
	if want := []string{committing, forgotten, forgotten + "-variants"}; !slices.Equal(manager.deleted, want) {
		t.Errorf("deleted %q, want %q", manager.deleted, want)
	}
}

// Without records nothing is known, so nothing is forgotten.
func TestClearLeasesWithoutRecords(t *testing.T) {
	manager := &fakeLeases{}
	held := []leases.Lease{{ID: "bbbbbbbbbbbbbbbbbbbbbbbbb", Labels: map[string]string{labelFlat: "x"}}}
	if err := clearLeases(t.Context(), filepath.Join(t.TempDir(), "none"), manager, held, nil); err != nil || len(manager.deleted) > 0 {
		t.Errorf("deleted %q: %v", manager.deleted, err)
	}
}

func TestClearHistory(t *testing.T) {
	manager := &fakeLeases{held: []leases.Lease{
		{ID: "ref_known"},
		{ID: "ref_lost"},
		{ID: "other"},
		{ID: "1-abcd", Labels: map[string]string{labelTemporary: "x", labelExpire: "2026-01-02T00:00:00Z"}},
	}}
	file := filepath.Join(t.TempDir(), "history_c8d.db")
	clear := func(want ...string) {
		t.Helper()
		if err := clearHistory(t.Context(), file, manager); err != nil || !slices.Equal(manager.deleted, want) {
			t.Errorf("deleted %q, want %q: %v", manager.deleted, want, err)
		}
	}
	clear() // there is no file
	put := func(do func(tx *bolt.Tx) error) {
		db, err := bolt.Open(file, 0o600, nil)
		if err == nil {
			err = errors.Join(db.Update(do), db.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put(func(*bolt.Tx) error { return nil })
	clear() // there is no bucket
	put(func(tx *bolt.Tx) error {
		records, err := tx.CreateBucket([]byte("_records"))
		if err == nil {
			err = records.Put([]byte("known"), []byte("a record"))
		}
		return err
	})
	clear("ref_lost", "1-abcd")
}

func TestClearUnnamedLeases(t *testing.T) {
	const left, holds = "821533552-AM3a", "1-_-zZ"
	manager := &fakeLeases{resources: map[string][]leases.Resource{holds: {{ID: "sha256:a", Type: "content"}}}}
	held := []leases.Lease{
		{ID: left},
		{ID: holds},
		{ID: "2-abcd", Labels: map[string]string{labelExpire: "2026-01-01T00:00:00Z"}},
		{ID: "boxyard-images"},
	}
	if err := clearUnnamed(t.Context(), manager, held); err != nil || !slices.Equal(manager.deleted, []string{left}) {
		t.Errorf("leases deleted: %q, %v", manager.deleted, err)
	}
}
