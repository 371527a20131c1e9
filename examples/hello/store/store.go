package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// store keeps integers in memory and in one JSON file. A change returns when it is on disk;
// changes that arrive while the file is being written share the next write.
type store struct {
	path string

	mu      sync.Mutex // guards values and changed
	values  map[string]int64
	changed uint64 // number of changes made

	writing sync.Mutex // held while the file is written; guards written
	written uint64     // changes that are on disk
}

// open reads the file in dir, or starts empty where there is none yet.
func open(dir string) (*store, error) {
	s := &store{path: filepath.Join(dir, "store.json"), values: make(map[string]int64)}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if err := json.Unmarshal(data, &s.values); err != nil {
		return nil, fmt.Errorf("open %s: %w", s.path, err)
	}
	return s, nil
}

func (s *store) get(key string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[key]
}

// update applies change to the value of key and returns the new value once it is on disk.
func (s *store) update(key string, change func(int64) int64) (int64, error) {
	s.mu.Lock()
	value := change(s.values[key])
	s.values[key] = value
	s.changed++
	mine := s.changed
	s.mu.Unlock()
	return value, s.commit(mine)
}

// commit returns when the change with the given number is on disk.
func (s *store) commit(change uint64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.written >= change {
		return nil
	}
	s.mu.Lock()
	upTo := s.changed
	data, err := json.Marshal(s.values)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := replaceFile(s.path, data); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	s.written = upTo
	return nil
}

// replaceFile leaves the old file or the new one, on disk, whenever the machine stops.
func replaceFile(path string, data []byte) error {
	temp := path + ".new"
	file, err := os.OpenFile(temp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
