package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Config is registry.json. All paths are absolute.
type Config struct {
	// Addresses are loopback's. An IPv6 address that the machine does not have is left out.
	Addresses []string `json:"addresses"`
	Port      int      `json:"port"` // 0: there are caches only
	DataDir   string   `json:"dataDir"`
	RunDir    string   `json:"runDir"` // of the status socket
	// CertFile and KeyFile serve TLS; "" serves plain HTTP.
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
	Htpasswd string `json:"htpasswd"` // bcrypt only; "" asks nobody for a password
	// Caches are served on a port of their own, to clients with a certificate of ClientCA.
	Caches    []Cache `json:"caches"`
	CachePort int     `json:"cachePort"`
	CacheCert string  `json:"cacheCert"`
	CacheKey  string  `json:"cacheKey"`
	ClientCA  string  `json:"clientCA"`
	// Prune frees first what no tag and no index leads to.
	Prune bool `json:"prune"`
}

// Cache keeps what was pulled through it from another registry.
type Cache struct {
	Name     string `json:"name"`     // the registry, as it stands in names of images; the cache's path is /NAME/v2
	URL      string `json:"url"`      // of the registry: "https://registry-1.docker.io"
	Username string `json:"username"` // "" asks as nobody
	Password string `json:"password"`
	MaxBytes int64  `json:"maxBytes"` // of its blobs; 0 is no limit
}

// load reads registry.json strictly.
func load(file string) (Config, error) {
	var c Config
	data, err := os.ReadFile(file)
	if err != nil {
		return c, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	if len(c.Addresses) == 0 || c.DataDir == "" || c.RunDir == "" {
		return c, errors.New(file + ": addresses, dataDir and runDir may not be empty")
	}
	return c, nil
}

func (c Config) statusSocket() string { return filepath.Join(c.RunDir, "status.sock") }
