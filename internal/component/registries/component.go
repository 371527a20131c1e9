package registries

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/registries"
)

// name is the component's.
const name = "registries"

// Options is what the daemon knows about this instance.
type Options struct {
	Source string // the user's directory; need not exist
	Target string // CRI's config_path: one directory, written by us alone
	Mirror string // the table of hosts.toml that is asked first, for every registry
	// Insecure gets the registries that nobody vouches for, at each change; nil: nobody wants to know.
	Insecure func(names []string) error
	Logger   *slog.Logger
}

// Component derives Target from Source, supervised.
type Component struct {
	o Options

	mu       sync.Mutex
	problems []registries.Problem
}

// New returns the component; nothing is touched before Prepare.
func New(o Options) *Component { return &Component{o: o} }

// Name implements supervisor.Component.
func (c *Component) Name() string { return name }

// Requires implements supervisor.Component.
func (c *Component) Requires() []string { return nil }

// Prepare implements supervisor.Component.
func (c *Component) Prepare(context.Context) error { return c.update() }

// Run follows the user's directory until ctx is done. It does not end for what is in there.
func (c *Component) Run(ctx context.Context, ready func()) error {
	changes, err := follow(c.o.Source)
	if err != nil {
		return fmt.Errorf("follow %s: %w", c.o.Source, err)
	}
	defer changes.close()
	// What changed before we looked.
	if err := c.update(); err != nil {
		return err
	}
	ready()
	for changes.next(ctx) {
		if err := c.update(); err != nil {
			c.o.Logger.Warn("What is said of registries cannot be brought up to date", "error", err)
		}
	}
	return nil
}

// Warning implements supervisor.Warner.
func (c *Component) Warning() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.problems) == 0 {
		return ""
	}
	text := c.problems[0].Error() + "; correct the file, no restart is needed"
	if more := len(c.problems) - 1; more > 0 {
		text = fmt.Sprintf("%s (and %d more)", text, more)
	}
	return text
}

// update makes Target what Source says now.
func (c *Component) update() error {
	hosts, problems := registries.Read(c.o.Source)
	derived := map[string][]byte{registries.DefaultDir: []byte(c.o.Mirror)}
	files := map[string][]string{}
	for _, h := range hosts {
		content, err := h.Derive(c.o.Mirror)
		if err != nil {
			problems = append(problems, registries.Problem{File: filepath.Join(c.o.Source, h.Entry), Err: err})
			content = []byte(c.o.Mirror)
		}
		derived[h.Entry], files[h.Entry] = content, h.Files
	}
	c.note(problems)
	var errs []error
	for entry, content := range derived {
		errs = append(errs, c.put(entry, content, files[entry]))
	}
	errs = append(errs, keepOnly(c.o.Target, func(entry string) bool { return derived[entry] != nil }))
	if c.o.Insecure != nil {
		errs = append(errs, c.o.Insecure(registries.InsecureNames(hosts)))
	}
	return errors.Join(errs...)
}

func (c *Component) note(problems []registries.Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range problems {
		if !slices.ContainsFunc(c.problems, func(old registries.Problem) bool { return old.Error() == p.Error() }) {
			c.o.Logger.Warn("This is not what containerd reads", "file", p.File, "error", p.Err)
		}
	}
	c.problems = problems
}

// put writes one directory. Its files are links, so that paths in hosts.toml that are relative lead there as they do
// in the user's. containerd reads at each pull: hosts.toml comes last.
func (c *Component) put(entry string, hosts []byte, files []string) error {
	dir := filepath.Join(c.o.Target, entry)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	wanted := []string{registries.HostsFile}
	for _, file := range files {
		base := filepath.Base(file)
		wanted = append(wanted, base)
		link := filepath.Join(dir, base)
		if to, err := os.Readlink(link); err == nil && to == file {
			continue
		}
		if err := os.RemoveAll(link); err != nil {
			return err
		}
		if err := os.Symlink(file, link); err != nil {
			return err
		}
	}
	path := filepath.Join(dir, registries.HostsFile)
	if old, err := os.ReadFile(path); err != nil || string(old) != string(hosts) {
		if err := atomicfile.Write(path, hosts, 0o600); err != nil {
			return err
		}
	}
	return keepOnly(dir, func(entry string) bool { return slices.Contains(wanted, entry) })
}

// keepOnly removes what else there is in a directory, but what is being written.
func keepOnly(dir string, wanted func(entry string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if !wanted(entry.Name()) && !strings.HasPrefix(entry.Name(), ".") {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	return errors.Join(errs...)
}
