package payload

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/payload/archive"
	"github.com/boxyard/boxyard/internal/version"
)

// ErrNone says that the executable carries no payload: it was built without one.
var ErrNone = archive.ErrNone

// versionsFile has the versions of a directory that is used in place.
const versionsFile = "versions.json"

// Payload is a set of binaries, packed in an executable or in a directory.
type Payload struct {
	exe      string // the packed file; "" for a directory
	dir      string // the directory that is used in place; "" for a packed file
	id       string
	manifest archive.Manifest
}

// Set is a set of binaries that can be run.
type Set struct {
	Dir      string            // absolute
	Versions map[string]string // by the names of upstream.env ("docker", "kubernetes"), and "boxyard"
}

// Path is the file of the given name: "dockerd", "cni/bridge", "images.tar".
func (s Set) Path(name string) string { return filepath.Join(s.Dir, filepath.FromSlash(name)) }

// Open reads what the executable says that it carries; it unpacks nothing. The
// error is ErrNone where nothing is appended, and a fault payload-corrupt where
// the end of the file is torn or altered.
func Open(exe string) (*Payload, error) {
	f, err := os.Open(exe)
	if err != nil {
		return nil, fmt.Errorf("open payload: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open payload: %w", err)
	}
	m, err := archive.Read(f, info.Size())
	if errors.Is(err, archive.ErrNone) {
		return nil, fmt.Errorf("%s: %w", exe, ErrNone)
	}
	if err != nil {
		return nil, corrupt(exe, err)
	}
	return &Payload{exe: exe, id: m.ID(), manifest: m}, nil
}

// FromDir is the unpacked set in dir, which Extract uses where it is.
func FromDir(dir string) (*Payload, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("payload directory: %w", err)
	}
	m := archive.Manifest{Versions: map[string]string{}}
	data, err := os.ReadFile(filepath.Join(dir, versionsFile))
	if err != nil {
		return nil, &fault.Error{
			Code:    "payload-missing",
			Summary: fmt.Sprintf("%s is not a directory of Boxyard's binaries", dir),
			Hint:    "make payload-dir, then boxyard up --payload-dir build/payload",
			Exit:    fault.ExitUsage,
			Cause:   err,
		}
	}
	if err := json.Unmarshal(data, &m.Versions); err != nil {
		return nil, fmt.Errorf("read %s: %w", versionsFile, err)
	}
	id, err := stateOf(dir)
	if err != nil {
		return nil, fmt.Errorf("payload directory: %w", err)
	}
	return &Payload{dir: dir, id: id, manifest: m}, nil
}

// stateOf names the present state of a directory's files, without reading them.
func stateOf(dir string) (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(hash, name, info.Mode(), info.Size(), info.ModTime().UnixNano())
		return err
	})
	return hex.EncodeToString(hash.Sum(nil)), err
}

// ID names the content: 64 hexadecimal digits.
func (p *Payload) ID() string { return p.id }

// Versions are the versions of the binaries, and that of this program as "boxyard".
func (p *Payload) Versions() map[string]string {
	versions := maps.Clone(p.manifest.Versions)
	if versions == nil {
		versions = map[string]string{}
	}
	versions["boxyard"] = version.Version
	return versions
}

func (p *Payload) set(dir string) Set { return Set{Dir: dir, Versions: p.Versions()} }

// corrupt is the error for a file that is not as it was built.
func corrupt(exe string, cause error) error {
	return &fault.Error{
		Code:    "payload-corrupt",
		Summary: fmt.Sprintf("%s is damaged", exe),
		Hint:    "install the file again: download it anew, or run make build",
		Cause:   cause,
	}
}
