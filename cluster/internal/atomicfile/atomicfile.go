// Package atomicfile writes files that are replaced whole or not at all. The daemon's module has its own,
// because the two share no code (docs/adr/0001).
package atomicfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
)

// Replace writes data to path, mode 0600, and only where it differs from what is there. Its directory must exist.
func Replace(path string, data []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, data) {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
