package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Extracting the payload takes seconds, so the first instance of a binary leaves what it
// extracted in build/test-payload, and later ones start from hard links to it.

func (in *Instance) payloadCache() (string, error) {
	file, err := os.Open(in.Binary)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return filepath.Join(in.repo, "build", "test-payload", hex.EncodeToString(hash.Sum(nil))[:16]), nil
}

// takePayload puts the cached payload, if there is one, into the data directory.
func (in *Instance) takePayload() error {
	cache, err := in.payloadCache()
	if err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	if _, err := os.Stat(cache); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := linkTree(cache, in.DataPath("payload")); err != nil {
		return fmt.Errorf("harness: share the payload: %w", err)
	}
	return nil
}

// storePayload fills the cache from an instance that has extracted its own.
func (in *Instance) storePayload() error {
	from := in.DataPath("payload")
	if _, err := os.Stat(filepath.Join(from, "current")); err != nil || in.payloadDir != "" {
		return nil //nolint:nilerr // no payload here: nothing to keep
	}
	cache, err := in.payloadCache()
	if err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	if _, err := os.Stat(cache); err == nil {
		return nil
	}
	// The payload of an older build is of no use any more.
	if err := os.RemoveAll(filepath.Dir(cache)); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	temp := cache + "." + in.ID
	if err := linkTree(from, temp); err != nil {
		return fmt.Errorf("harness: keep the payload: %w", err)
	}
	if err := os.Rename(temp, cache); err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

// linkTree copies a directory, with hard links for files where the file system allows.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			return os.MkdirAll(target, info.Mode().Perm())
		case info.Mode()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		}
		if os.Link(path, target) == nil {
			return nil
		}
		return copyFile(path, target, info.Mode().Perm())
	})
}

func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
