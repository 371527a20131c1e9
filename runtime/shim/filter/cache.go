package filter

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// kept is how many filters are kept; there is one for each set of capabilities and each profile in use.
const kept = 64

// Cache is a directory of filters. A file's name is the digest of all that its program was made from: the rules, as
// runc has them after its defaults, and this executable, which libseccomp is linked into.
type Cache struct {
	dir     string
	builder string

	mu     sync.Mutex
	making map[string]bool
}

// NewCache returns a cache in dir, which is made if need be. Who may write there decides what containers may do.
func NewCache(dir string) (*Cache, error) {
	if !Wrapped() {
		return nil, errors.ErrUnsupported
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var self unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &self); err != nil {
		return nil, fmt.Errorf("look at this executable: %w", err)
	}
	builder := fmt.Sprintln(self.Dev, self.Ino, self.Size, self.Mtim.Nano(), self.Ctim.Nano())
	return &Cache{dir: dir, builder: builder, making: map[string]bool{}}, nil
}

// Find gives the filter for these rules, which the caller closes. Where there is none yet, or a damaged one, it returns
// nil, and makes one meanwhile. A nil Cache has none and makes none.
//
// What is given is a copy that nobody can change: a container's process that may trace others can open the files of one
// that is about to join it, as it could runc's own executable, which runc copies for that reason.
func (c *Cache) Find(rules *configs.Seccomp) (*os.File, error) {
	if c == nil || rules == nil {
		return nil, nil
	}
	path, err := c.path(rules)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	program, ok := bytes.CutPrefix(content, []byte(magic))
	if !ok || check(program) != nil {
		c.make(path, rules)
		return nil, nil
	}
	return sealed(content)
}

// sealed is a file in memory with this content for good.
func sealed(content []byte) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("seccomp-filter", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("seccomp-filter", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "seccomp-filter")
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	_, err = file.Write(content)
	if err == nil {
		_, err = unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (c *Cache) path(rules *configs.Seccomp) (string, error) {
	content, err := json.Marshal(rules)
	if err != nil {
		return "", fmt.Errorf("write the seccomp rules down: %w", err)
	}
	sum := sha256.Sum256(append([]byte(c.builder), content...))
	return filepath.Join(c.dir, hex.EncodeToString(sum[:])), nil
}

// make compiles a filter beside whatever goes on. One that fails is tried again by the next container.
func (c *Cache) make(path string, rules *configs.Seccomp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.making[path] {
		return
	}
	c.making[path] = true
	go func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.making, path)
		}()
		program, err := compile(rules)
		if err != nil {
			return // The container itself says what is wrong with its rules.
		}
		if write(path, program) == nil {
			c.trim()
		}
	}()
}

// write makes the file appear whole or not at all. It need not outlive the machine's end.
func write(path string, program []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = temporary.Write(append([]byte(magic), program...))
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}

// trim removes the oldest filters when there are too many, and what a kill has left half-written.
func (c *Cache) trim() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	type file struct {
		path string
		made time.Time
	}
	var files []file
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			files = append(files, file{filepath.Join(c.dir, entry.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Or(b.made.Compare(a.made), cmp.Compare(a.path, b.path)) })
	for _, f := range files[min(kept, len(files)):] {
		_ = os.Remove(f.path)
	}
}
