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
)

const (
	labelFlat   = "containerd.io/gc.flat"
	labelExpire = "containerd.io/gc.expire"
)

// clearLeases deletes the leases by which BuildKit holds snapshots that it does not know of. It makes the lease of a
// snapshot first and writes its own record when the snapshot is there (moby/buildkit cache/manager.go); after a kill
// between the two nobody deletes the lease, and the snapshot stays for good. records is BuildKit's own database. No
// dockerd may run.
func clearLeases(ctx context.Context, records string, manager leases.Manager, held []leases.Lease) error {
	known, err := buildRecords(records)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read BuildKit's records: %w", err)
	}
	var errs []error
	for _, lease := range held {
		if !isForgotten(lease, known) {
			continue
		}
		errs = append(errs, manager.Delete(ctx, lease))
	}
	return errors.Join(errs...)
}

// isForgotten knows BuildKit's leases by its label and by their names: the name of a record, alone or with the suffix
// of its view or of its variants. A lease that expires goes by itself.
func isForgotten(lease leases.Lease, known map[string]bool) bool {
	if lease.Labels[labelFlat] == "" || lease.Labels[labelExpire] != "" {
		return false
	}
	id := lease.ID
	for _, suffix := range []string{"-view", "-variants"} {
		id = strings.TrimSuffix(id, suffix)
	}
	return regexp.MustCompile(`^[a-z0-9]{25}$`).MatchString(id) && !known[id] // the form of moby/buildkit identity.NewID
}

// buildRecords names the records of BuildKit's cache (moby/buildkit cache/metadata).
func buildRecords(file string) (map[string]bool, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: 3 * time.Second})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	known := map[string]bool{}
	err = db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("_main"))
		if bucket == nil {
			return errors.New("they have another form than this version of BuildKit gives them")
		}
		return bucket.ForEach(func(key, _ []byte) error {
			known[string(key)] = true
			return nil
		})
	})
	return known, err
}
