package registries

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// endpoint is what hosts.toml may say of one server (hostFileConfig in containerd's hosts.go).
type endpoint struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  string         `toml:"dial_timeout"`
}

type contents struct {
	endpoint
	Server string              `toml:"server"`
	Host   map[string]endpoint `toml:"host"`
}

// parse refuses what containerd would refuse, so that it is said before an image is wanted.
func parse(data []byte) (contents, error) {
	var c contents
	if err := toml.Unmarshal(data, &c); err != nil {
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := at.Position()
			if key := at.Key(); len(key) > 0 {
				return c, fmt.Errorf("line %d: %s has a value of the wrong kind", line, strings.Join(key, "."))
			}
			return c, fmt.Errorf("line %d: %w", line, err)
		}
		return c, err
	}
	if err := c.check(c.Server); err != nil {
		return c, err
	}
	for name, e := range c.Host {
		if err := e.check(name); err != nil {
			return c, fmt.Errorf("host %q: %w", name, err)
		}
	}
	return c, nil
}

func (e endpoint) check(server string) error {
	if server != "" && !strings.HasPrefix(server, "http") {
		server = "https://" + server
	}
	if _, err := url.Parse(server); err != nil {
		return err
	}
	for _, word := range e.Capabilities {
		if !slices.Contains([]string{"pull", "resolve", "push", "referrers"}, strings.ToLower(word)) {
			return fmt.Errorf("capabilities: there is no %q; allowed are pull, resolve, push and referrers", word)
		}
	}
	if e.DialTimeout != "" {
		if _, err := time.ParseDuration(e.DialTimeout); err != nil {
			return fmt.Errorf("dial_timeout: %w", err)
		}
	}
	if _, err := e.files(); err != nil {
		return err
	}
	for key, value := range e.Header {
		if _, err := stringsOf(value); err != nil {
			return fmt.Errorf("header %s: %w", key, err)
		}
	}
	return nil
}

// files are the paths of certificates and keys, as they are written.
func (e endpoint) files() ([]string, error) {
	ca, err := stringsOf(e.CA)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	client, err := pairsOf(e.Client)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return append(ca, client...), nil
}

// stringsOf takes a text or a list of them.
func stringsOf(value any) ([]string, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		texts := make([]string, len(v))
		for i, one := range v {
			text, ok := one.(string)
			if !ok {
				return nil, fmt.Errorf("%v is no text", one)
			}
			texts[i] = text
		}
		return texts, nil
	default:
		return nil, fmt.Errorf("%v is neither a text nor a list of texts", v)
	}
}

// pairsOf takes what stringsOf does, and lists of pairs.
func pairsOf(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		return stringsOf(value)
	}
	var files []string
	for _, one := range list {
		texts, err := stringsOf(one)
		if err != nil {
			return nil, err
		}
		if _, pair := one.([]any); pair && len(texts) != 2 {
			return nil, fmt.Errorf("%v is no pair of a certificate and its key", one)
		}
		files = append(files, texts...)
	}
	return files, nil
}

// insecure: what counts is the registry itself, not its mirrors.
func (c contents) insecure() bool {
	return strings.HasPrefix(c.Server, "http://") || c.SkipVerify != nil && *c.SkipVerify
}

// missingFiles finds certificates that are named and not there.
func (c contents) missingFiles(dir, file string) []Problem {
	var problems []Problem
	for _, e := range append([]endpoint{c.endpoint}, sortedEndpoints(c.Host)...) {
		files, _ := e.files() // parse has checked it
		for _, name := range files {
			if !filepath.IsAbs(name) {
				name = filepath.Join(dir, name)
			}
			if _, err := os.Stat(name); err != nil {
				problems = append(problems, Problem{file, err})
			}
		}
	}
	return problems
}

func sortedEndpoints(m map[string]endpoint) []endpoint {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	all := make([]endpoint, len(names))
	for i, name := range names {
		all[i] = m[name]
	}
	return all
}

// Derive is a hosts.toml that asks first what the table mirror describes, and then what this Host says. Paths are as
// they were: what they are relative to has to lie beside it.
func (h Host) Derive(mirror string) ([]byte, error) {
	at, err := firstTable(h.toml)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Entry, err)
	}
	derived := slices.Concat(ended(h.toml[:at]), []byte(mirror), h.toml[at:])
	// What came out is looked at: two halves that are right may be wrong together.
	if _, err := parse(derived); err != nil {
		return nil, fmt.Errorf("%s: with Boxyard's mirror in front: %w", h.Entry, err)
	}
	return derived, nil
}

// ended makes sure that a table can follow.
func ended(keys []byte) []byte {
	if len(keys) == 0 || bytes.HasSuffix(keys, []byte("\n")) {
		return keys
	}
	return append(bytes.Clone(keys), '\n')
}

// firstTable is where the first table begins, after the keys that are of none: the end, where there is no table. The
// order of tables is that in which containerd asks.
func firstTable(data []byte) (int, error) {
	var p unstable.Parser
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.Table && e.Kind != unstable.ArrayTable {
			continue
		}
		key := e.Key()
		key.Next()
		// The bracket is on the key's line, before it.
		at := int(key.Node().Raw.Offset)
		return bytes.LastIndexByte(data[:at], '\n') + 1, nil
	}
	return len(data), p.Error()
}

func quote(text string) string { return strconv.Quote(text) }
