package registries

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Dir is the constant of moby and Docker's documentation (moby daemon/pkg/registry, CertsDir).
const Dir = "/etc/docker/certs.d"

// DefaultDir is for every registry that has no directory of its own.
const DefaultDir = "_default"

// HostsFile is read by containerd, and instead of certificate files where it is there.
const HostsFile = "hosts.toml"

// Host is what a user says of one registry.
type Host struct {
	// Entry is the name of its directory: the registry, with its port as ":5000" or as "_5000_", or _default.
	Entry string
	// Name is the registry as it stands in an image's name: "localhost:5000". It is empty for _default.
	Name string
	// Insecure says that nobody vouches for it: plain HTTP, or a certificate that is not checked.
	Insecure bool
	// Files are the absolute paths of the files beside hosts.toml, which paths in it may be relative to.
	Files []string

	toml []byte // hosts.toml, or what stands for it
}

// Problem is a directory that does not say what its owner means.
type Problem struct {
	File string
	Err  error
}

func (p Problem) Error() string { return fmt.Sprintf("%s: %v", p.File, p.Err) }

// Unwrap gives the cause.
func (p Problem) Unwrap() error { return p.Err }

// Read reads every directory below root. A root that does not exist has none. A hosts.toml that cannot be read is a
// Problem, and its certificate files count in its place, as with containerd; all others are read nevertheless.
func Read(root string) ([]Host, []Problem) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, []Problem{{root, err}}
	}
	var hosts []Host
	var problems []Problem
	for _, entry := range entries {
		dir := filepath.Join(root, entry.Name())
		info, err := os.Stat(dir) // a link to a directory is one
		switch {
		case err != nil:
			problems = append(problems, Problem{dir, err})
			continue
		case !info.IsDir():
			continue
		}
		host, found := readHost(dir, entry.Name())
		hosts = append(hosts, host)
		problems = append(problems, found...)
	}
	return hosts, problems
}

// InsecureNames lists the registries whose certificates are not to be checked, sorted.
func InsecureNames(hosts []Host) []string {
	var names []string
	for _, h := range hosts {
		if h.Insecure && h.Name != "" {
			names = append(names, h.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func readHost(dir, entry string) (Host, []Problem) {
	h := Host{Entry: entry, Name: nameOf(entry)}
	file := filepath.Join(dir, HostsFile)
	var problems []Problem
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		problems = append(problems, Problem{file, err})
	}
	names, err := filesIn(dir)
	if err != nil {
		problems = append(problems, Problem{dir, err})
	}
	for _, name := range names {
		h.Files = append(h.Files, filepath.Join(dir, name))
	}
	if len(data) > 0 {
		said, err := parse(data)
		if err == nil {
			h.toml, h.Insecure = data, said.insecure()
			return h, append(problems, said.missingFiles(dir, file)...)
		}
		problems = append(problems, Problem{file, err})
	}
	h.toml = fromCertificates(dir, names)
	return h, problems
}

// filesIn lists the files of a directory but hosts.toml.
func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if !entry.IsDir() && entry.Name() != HostsFile {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// withPort is the spelling for file systems without colons (hostDirectory in containerd's hosts.go).
var withPort = regexp.MustCompile(`^(.+)_([0-9]+)_$`)

func nameOf(entry string) string {
	if entry == DefaultDir {
		return ""
	}
	if parts := withPort.FindStringSubmatch(entry); parts != nil {
		return parts[1] + ":" + parts[2]
	}
	return entry
}

// fromCertificates says in hosts.toml what Docker's files say: every *.crt is an authority, and a *.cert with the *.key
// of the same name is a client's certificate.
func fromCertificates(dir string, names []string) []byte {
	var authorities, clients []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		switch {
		case strings.HasSuffix(name, ".crt"):
			authorities = append(authorities, quote(path))
		case strings.HasSuffix(name, ".cert"):
			pair := []string{quote(path)}
			if key := strings.TrimSuffix(name, ".cert") + ".key"; slices.Contains(names, key) {
				pair = []string{"[" + pair[0], quote(filepath.Join(dir, key)) + "]"}
			}
			clients = append(clients, strings.Join(pair, ", "))
		}
	}
	var b strings.Builder
	if len(authorities) > 0 {
		fmt.Fprintf(&b, "ca = [%s]\n", strings.Join(authorities, ", "))
	}
	if len(clients) > 0 {
		fmt.Fprintf(&b, "client = [%s]\n", strings.Join(clients, ", "))
	}
	return []byte(b.String())
}
