package dockerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

const (
	labelFlat   = "containerd.io/gc.flat"
	labelExpire = "containerd.io/gc.expire"
)

// buildID is the form of moby/buildkit identity.NewID.
var buildID = regexp.MustCompile(`^[a-z0-9]{25}$`)

// clearLeases deletes the leases by which BuildKit holds snapshots that it does not know of. It makes the lease of a
// snapshot first and writes its own record when the snapshot is there (moby/buildkit cache/manager.go); after a kill
// between the two nobody deletes the lease, and the snapshot stays for good. Likewise the lease of a snapshot that it
// was about to commit (cache/refs.go, finalize): when the record goes, that lease is passed over. records is BuildKit's
// own database, snapshot says whether there is one of that name. No dockerd may run.
func clearLeases(ctx context.Context, records string, manager leases.Manager, held []leases.Lease, snapshot func(ctx context.Context, name string) (bool, error)) error {
	known, err := buildRecords(records)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read BuildKit's records: %w", err)
	}
	var errs []error
	for _, lease := range held {
		forgotten := isForgotten(lease, known)
		if known[lease.ID].uncommitted {
			forgotten, err = isEmpty(ctx, lease, manager, snapshot)
			errs = append(errs, err)
		}
		if forgotten {
			errs = append(errs, manager.Delete(ctx, lease))
		}
	}
	return errors.Join(errs...)
}

// isEmpty says that nothing of what the lease names is there.
func isEmpty(ctx context.Context, lease leases.Lease, manager leases.Manager, snapshot func(context.Context, string) (bool, error)) (bool, error) {
	resources, err := manager.ListResources(ctx, lease)
	if err != nil {
		return false, fmt.Errorf("list what the lease %s holds: %w", lease.ID, err)
	}
	for _, r := range resources {
		if !strings.HasPrefix(r.Type, "snapshots/") {
			return false, nil
		}
		if there, err := snapshot(ctx, r.ID); err != nil || there {
			return false, err
		}
	}
	return true, nil
}

// isForgotten knows BuildKit's leases by its label and by their names: the name of a record, alone or with the suffix
// of its view or of its variants. A lease that expires goes by itself.
func isForgotten(lease leases.Lease, known map[string]buildRecord) bool {
	if lease.Labels[labelFlat] == "" || lease.Labels[labelExpire] != "" {
		return false
	}
	id := lease.ID
	for _, suffix := range []string{"-view", "-variants"} {
		id = strings.TrimSuffix(id, suffix)
	}
	_, ok := known[id]
	return !ok && buildID.MatchString(id)
}

// unnamedID is the form of the names that containerd gives leases (core/leases, WithRandomID).
var unnamedID = regexp.MustCompile(`^[0-9]{1,9}-[A-Za-z0-9_-]{4}$`)

// clearUnnamed deletes what is left of the leases by which BuildKit has containerd collect garbage: it makes one that
// holds nothing, without a name and without labels, and deletes it (moby/buildkit worker/containerd, gc). A lease
// that anybody means to keep has some of these.
func clearUnnamed(ctx context.Context, manager leases.Manager, held []leases.Lease) error {
	var errs []error
	for _, lease := range held {
		if len(lease.Labels) > 0 || !unnamedID.MatchString(lease.ID) {
			continue
		}
		resources, err := manager.ListResources(ctx, lease)
		if err == nil && len(resources) == 0 {
			err = manager.Delete(ctx, lease)
		}
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("clear the lease %s: %w", lease.ID, err))
		}
	}
	return errors.Join(errs...)
}

// clearHistory deletes the leases by which BuildKit holds what belongs to its history of builds, where there is no record
// of the build: it makes the lease of a record before it writes that (moby/buildkit solver/llbsolver/history, update),
// and holds what it writes meanwhile by temporary ones. file is its database of records. No dockerd may run. The context
// has the namespace of the history.
func clearHistory(ctx context.Context, file string, manager leases.Manager) error {
	known, err := historyRecords(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoBucket) {
		return nil // no build has ended yet
	}
	if err != nil {
		return fmt.Errorf("read BuildKit's history: %w", err)
	}
	held, err := manager.List(ctx)
	if err != nil {
		return fmt.Errorf("list leases of BuildKit's history: %w", err)
	}
	var errs []error
	for _, lease := range held {
		ref, isRecord := strings.CutPrefix(lease.ID, "ref_")
		if lease.Labels[labelTemporary] != "" || isRecord && !known[ref] {
			errs = append(errs, manager.Delete(ctx, lease, leases.SynchronousDelete))
		}
	}
	return errors.Join(errs...)
}

func historyRecords(file string) (map[string]bool, error) {
	known := map[string]bool{}
	err := viewBucket(file, "_records", func(ref string, _ *bolt.Bucket) { known[ref] = true })
	return known, err
}

// buildRecord is what there is to know of one of BuildKit's.
type buildRecord struct {
	uncommitted bool // its snapshot is that of another record still
}

// buildRecords are the records of BuildKit's cache, by name (moby/buildkit cache/metadata).
func buildRecords(file string) (map[string]buildRecord, error) {
	known := map[string]buildRecord{}
	err := viewBucket(file, "_main", func(name string, record *bolt.Bucket) {
		known[name] = buildRecord{uncommitted: record != nil && len(record.Get([]byte("cache.equalMutable"))) > 0}
	})
	return known, err
}

var errNoBucket = errors.New("it has another form than this version of BuildKit gives it")

// viewBucket calls see for all that is in a bucket at the top of one of BuildKit's databases; of what is a bucket itself
// see gets that.
func viewBucket(file, name string, see func(key string, bucket *bolt.Bucket)) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: 3 * time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(name))
		if bucket == nil {
			return fmt.Errorf("%s has no %s: %w", file, name, errNoBucket)
		}
		return bucket.ForEach(func(key, _ []byte) error {
			see(string(key), bucket.Bucket(key))
			return nil
		})
	})
}
