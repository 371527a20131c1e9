package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/registries"
	"github.com/boxyard/boxyard/internal/registry"
)

// mark is the first line of what we write among what users write.
const mark = "# Written by `boxyard registry cache`, which takes it away again. Changes are lost.\n"

// mirrors makes the caches known to all who pull: a hosts.toml for each, in the directory of what users say.
func (c *Component) mirrors(caches []registry.Cache) error {
	wanted := map[string]bool{}
	var errs []error
	for _, cache := range caches {
		wanted[cache.Registry] = true
		if err := c.free(cache.Registry); err != nil {
			errs = append(errs, err)
			continue
		}
		file := c.hostsFile(cache.Registry)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, atomicfile.Write(file, []byte(mark+c.hosts(cache)), 0o644))
	}
	entries, err := os.ReadDir(c.o.Registries)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(append(errs, err)...)
	}
	for _, entry := range entries {
		if !wanted[entry.Name()] && c.ours(entry.Name()) {
			errs = append(errs, c.unmirror(entry.Name()))
		}
	}
	return errors.Join(errs...)
}

func (c *Component) hostsFile(name string) string {
	return filepath.Join(c.o.Registries, name, registries.HostsFile)
}

// hosts leads to the cache first. Its certificate and the client's are read at each pull.
func (c *Component) hosts(cache registry.Cache) string {
	images := func(name string) string { return filepath.Join(c.o.Layout.PKIDir(), "images", name) }
	server := ""
	if cache.URL != "" {
		server = fmt.Sprintf("server = %q\n", cache.Upstream())
	}
	return server + fmt.Sprintf("[host.\"https://127.0.0.1:%d/%s\"]\n  capabilities = [\"pull\", \"resolve\", \"referrers\"]\n  ca = %q\n  client = [[%q, %q]]\n",
		CachePort, cache.Registry, images("ca.crt"), images("client.crt"), images("client.key"))
}

// free is a *fault.Error where a user has said something of this registry.
func (c *Component) free(name string) error {
	_, err := os.Stat(c.hostsFile(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && c.ours(name) {
		return nil
	}
	if err != nil {
		return err
	}
	return &fault.Error{
		Code:    "registry-configured",
		Summary: fmt.Sprintf("%s says already how %s is reached", c.hostsFile(name), name),
		Hint:    fmt.Sprintf("remove that file, or keep it and do without a cache of %s", name),
	}
}

func (c *Component) ours(name string) bool {
	data, err := os.ReadFile(c.hostsFile(name))
	return err == nil && strings.HasPrefix(string(data), mark)
}

// unmirror leaves a directory that a user has put certificates into.
func (c *Component) unmirror(name string) error {
	if err := os.Remove(c.hostsFile(name)); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(c.hostsFile(name))) // fails when it is not empty
	return nil
}

// Outside are our files outside of the layout that reset takes away.
func Outside(registries string) []string {
	c := &Component{o: Options{Registries: registries}}
	entries, err := os.ReadDir(registries)
	if err != nil {
		return nil
	}
	var files []string
	for _, entry := range entries {
		if c.ours(entry.Name()) {
			files = append(files, c.hostsFile(entry.Name()))
		}
	}
	return files
}
