package registry

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/boxyard/boxyard/internal/fault"
)

// DefaultPort is the registry's on loopback, as everywhere.
const DefaultPort = 5000

// Change is what a user wants otherwise. Its zero value changes nothing.
type Change struct {
	On   *bool `json:"on,omitempty"`
	Port *int  `json:"port,omitempty"`
	TLS  *bool `json:"tls,omitempty"`
	// Htpasswd has the lines of such a file, with bcrypt hashes; "" asks nobody for a password.
	Htpasswd    *string `json:"htpasswd,omitempty"`
	AddCache    *Cache  `json:"addCache,omitempty"`    // in place of one of the same registry
	RemoveCache string  `json:"removeCache,omitempty"` // a registry, and all that is cached of it
	// Prune frees what no tag and no index leads to.
	Prune bool `json:"prune,omitempty"`
}

// Cache keeps what was pulled through it.
type Cache struct {
	Registry string `json:"registry"` // as it stands in names of images: "docker.io"
	URL      string `json:"url"`      // of the registry; "" takes what that name stands for
	Username string `json:"username"` // "" asks as nobody
	Password string `json:"password,omitempty"`
	MaxBytes int64  `json:"maxBytes"` // 0 is no limit
}

// State is how things are. It has no secret.
type State struct {
	On       bool         `json:"on"`
	Ready    bool         `json:"ready"`
	Address  string       `json:"address"` // "localhost:5000", as it stands before an image's name
	TLS      bool         `json:"tls"`
	Password bool         `json:"password"` // whether it asks for one
	Bytes    int64        `json:"bytes"`    // on disk, without the caches
	Caches   []CacheState `json:"caches"`
	// Authority is the certificate, in PEM, of who signed the registry's.
	Authority string `json:"authority"`
}

// CacheState is a Cache without its password.
type CacheState struct {
	Registry string `json:"registry"`
	URL      string `json:"url"`
	Username string `json:"username,omitempty"`
	MaxBytes int64  `json:"maxBytes"`
	Bytes    int64  `json:"bytes"` // on disk
}

// codeInvalid is the code of every error about what a user asked for.
const codeInvalid = "registry-invalid"

// Check finds what cannot be done, as a *fault.Error.
func (c Change) Check() error {
	if c.Port != nil && (*c.Port < 1 || *c.Port > 65535) {
		return invalid(fmt.Sprintf("%d is no TCP port", *c.Port), "take one from 1 to 65535; the default is 5000")
	}
	if c.Htpasswd != nil {
		if err := checkHtpasswd(*c.Htpasswd); err != nil {
			return err
		}
	}
	if c.AddCache != nil {
		return c.AddCache.check()
	}
	return nil
}

// bcrypt is what the distribution project's library takes, and nothing else.
var bcrypt = regexp.MustCompile(`^[^:\s]+:\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

func checkHtpasswd(text string) error {
	users := 0
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !bcrypt.MatchString(line) {
			return invalid(fmt.Sprintf("line %d of the password file is not NAME:HASH with a bcrypt hash", number+1),
				"make it with: htpasswd -nB NAME")
		}
		users++
	}
	if users == 0 && text != "" {
		return invalid("the password file has no user", "make one with: htpasswd -nB NAME")
	}
	return nil
}

// host is a registry's name with an optional port.
var host = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$`)

func (c Cache) check() error {
	if !host.MatchString(c.Registry) {
		return invalid(fmt.Sprintf("%q is no registry", c.Registry), "name it as it stands in an image's name, such as docker.io or ghcr.io")
	}
	if c.MaxBytes < 0 || c.MaxBytes > 0 && c.MaxBytes < 100e6 {
		return invalid("a cache of less than 100 MB keeps nothing", "give it more, such as --max-size 10GB")
	}
	if (c.Username == "") != (c.Password == "") {
		return invalid("a user name goes with a password, and the other way round", "give both: --username NAME --password-stdin")
	}
	u, err := url.Parse(c.Upstream())
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return invalid(fmt.Sprintf("%q is no address of a registry", c.URL), "write it like https://registry.example:5000")
	}
	if u.Scheme == "http" && c.Password != "" {
		return invalid("a password would go to "+u.Host+" for everyone to read", "take https for a registry that asks for one")
	}
	return nil
}

// Upstream is the registry's address. Docker Hub's is another than its name (moby daemon/pkg/registry/config.go).
func (c Cache) Upstream() string {
	switch {
	case c.URL != "":
		return strings.TrimSuffix(c.URL, "/")
	case c.Registry == "docker.io":
		return "https://registry-1.docker.io"
	default:
		return "https://" + c.Registry
	}
}

func invalid(summary, hint string) error {
	return &fault.Error{Code: codeInvalid, Summary: summary, Hint: hint, Exit: fault.ExitUsage}
}
