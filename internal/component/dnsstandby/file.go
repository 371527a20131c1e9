package dnsstandby

import (
	"os"
	"sync"
	"time"
)

// file reads a file of names again when it has changed.
type file struct {
	path  string
	parse func([]byte) (*names, error)
	empty *names

	mu       sync.Mutex
	modified time.Time
	names    *names
}

// current never fails: without a file there are no names, as in a cluster that has just been made, and of a faulty one
// the last good content stays.
func (f *file) current() *names {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names == nil {
		f.names = f.empty
	}
	info, err := os.Stat(f.path)
	if err != nil || info.ModTime().Equal(f.modified) {
		return f.names
	}
	data, err := os.ReadFile(f.path)
	if err != nil {
		return f.names
	}
	if parsed, err := f.parse(data); err == nil {
		f.names, f.modified = parsed, info.ModTime()
	}
	return f.names
}
