package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/distribution/reference"
)

// size is what a directory takes up, files of several names once. One that is not there takes nothing; what goes
// while it is read is left out.
func size(dir string) (int64, error) {
	var total int64
	seen := map[uint64]bool{}
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil //nolint:nilerr // it has gone
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && !seen[stat.Ino] {
			seen[stat.Ino] = true
			total += stat.Blocks * 512 // the unit of st_blocks (stat(2))
		}
		return nil
	})
	return total, err
}

// directories counts those in dir, and what they take up.
func directories(dir string) (Use, error) {
	var u Use
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return u, err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			u.Count++
		}
	}
	u.Active = u.Count
	u.Bytes, err = size(dir)
	return u, err
}

// isWanted compares a name as Docker shows it with full names.
func isWanted(name string, wanted []string) bool {
	full, err := reference.ParseDockerRef(name)
	return err == nil && slices.Contains(wanted, full.String())
}
