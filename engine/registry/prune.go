package registry

import (
	"context"
	"errors"
	"os"

	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

// prune frees what no tag and no index leads to. Nobody may push meanwhile, which is why it comes before listening.
func prune(ctx context.Context, dir string) error {
	files := filesystem.New(filesystem.DriverParameters{RootDirectory: dir, MaxThreads: 25})
	registry, err := storage.NewRegistry(ctx, files, storage.EnableDelete)
	if err != nil {
		return err
	}
	err = storage.MarkAndSweep(ctx, files, registry, storage.GCOpts{RemoveUntagged: true, Quiet: true})
	if _, empty := errors.AsType[driver.PathNotFoundError](err); empty || errors.Is(err, os.ErrNotExist) {
		return nil // nothing was ever pushed
	}
	return err
}
