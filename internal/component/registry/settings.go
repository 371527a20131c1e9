package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/registry"
)

// settings is what a user has asked for so far. Its file is root's alone: it has passwords.
type settings struct {
	On       bool             `json:"on"`
	Port     int              `json:"port"`
	TLS      bool             `json:"tls"`
	Htpasswd string           `json:"htpasswd,omitempty"`
	Caches   []registry.Cache `json:"caches,omitempty"`
}

func readSettings(file string) (settings, error) {
	s := settings{Port: registry.DefaultPort}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func (s settings) write(file string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(file, append(data, '\n'), 0o600)
}

// with is s after a change that was checked.
func (s settings) with(c registry.Change) settings {
	s.Caches = slices.Clone(s.Caches)
	if c.On != nil {
		s.On = *c.On
	}
	if c.Port != nil {
		s.Port = *c.Port
	}
	if c.TLS != nil {
		s.TLS = *c.TLS
	}
	if c.Htpasswd != nil {
		s.Htpasswd = *c.Htpasswd
	}
	if c.AddCache != nil {
		s.Caches = append(s.without(c.AddCache.Registry), *c.AddCache)
	}
	if c.RemoveCache != "" {
		s.Caches = s.without(c.RemoveCache)
	}
	return s
}

func (s settings) without(name string) []registry.Cache {
	return slices.DeleteFunc(s.Caches, func(c registry.Cache) bool { return c.Registry == name })
}

// wanted says whether there is anything to run.
func (s settings) wanted() bool { return s.On || len(s.Caches) > 0 }

// config is registry.json, which the process decodes (engine/registry/config.go).
type config struct {
	Addresses []string      `json:"addresses"`
	Port      int           `json:"port"` // 0: there are caches only
	DataDir   string        `json:"dataDir"`
	RunDir    string        `json:"runDir"`
	CertFile  string        `json:"certFile"`
	KeyFile   string        `json:"keyFile"`
	Htpasswd  string        `json:"htpasswd"`
	Caches    []configCache `json:"caches"`
	CachePort int           `json:"cachePort"`
	CacheCert string        `json:"cacheCert"`
	CacheKey  string        `json:"cacheKey"`
	ClientCA  string        `json:"clientCA"`
	Prune     bool          `json:"prune"`
}

type configCache struct {
	Name     string `json:"name"`
	URL      string `json:"url"`
	Username string `json:"username"`
	Password string `json:"password"`
	MaxBytes int64  `json:"maxBytes"`
}

func newConfig(o Options, s settings) config {
	images := func(name string) string { return filepath.Join(o.Layout.PKIDir(), "images", name) }
	c := config{
		Addresses: []string{"127.0.0.1", "::1"},
		DataDir:   dataDir(o), RunDir: o.Layout.RunOf(name),
		Caches: []configCache{}, CachePort: CachePort,
		CacheCert: images("server.crt"), CacheKey: images("server.key"), ClientCA: images("ca.crt"),
	}
	if s.On {
		c.Port = s.Port
	}
	if s.TLS {
		c.CertFile, c.KeyFile = images("server.crt"), images("server.key")
	}
	if s.Htpasswd != "" {
		c.Htpasswd = htpasswdFile(o)
	}
	for _, cache := range s.Caches {
		c.Caches = append(c.Caches, configCache{
			Name: cache.Registry, URL: cache.Upstream(), Username: cache.Username, Password: cache.Password, MaxBytes: cache.MaxBytes,
		})
	}
	return c
}
