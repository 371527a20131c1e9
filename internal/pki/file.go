package pki

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

func readPEM(file, blockType string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != blockType {
		return nil, fmt.Errorf("no PEM block %q", blockType)
	}
	return block.Bytes, nil
}

func writePEM(file, blockType string, der []byte, perm fs.FileMode) error {
	return atomicfile.Write(file, pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der}), perm)
}

// writeChanged leaves a file that has the content already alone, so that watchers see real changes only.
func writeChanged(file string, data []byte, perm fs.FileMode) error {
	old, err := os.ReadFile(file)
	if err == nil && bytes.Equal(old, data) {
		return nil
	}
	return atomicfile.Write(file, data, perm)
}

func exists(file string) (bool, error) {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
