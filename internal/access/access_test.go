package access

import (
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/fault"
)

func TestResolve(t *testing.T) {
	lookup := func(groups map[string]int) func(string) (int, error) {
		return func(name string) (int, error) {
			if gid, ok := groups[name]; ok {
				return gid, nil
			}
			return 0, user.UnknownGroupError(name)
		}
	}
	tests := map[string]struct {
		group, sudo string
		groups      map[string]int
		want        Access
		code        string
	}{
		"docker where it is":       {groups: map[string]int{"docker": 998}, want: Access{GID: 998}},
		"root where it is not":     {want: Access{}},
		"the configured group":     {group: "dev", groups: map[string]int{"docker": 998, "dev": 7}, want: Access{GID: 7}},
		"an unknown group":         {group: "dev", groups: map[string]int{"docker": 998}, code: "group-unknown"},
		"through sudo":             {sudo: "1000", want: Access{UIDs: []int{1000}}},
		"sudo by root":             {sudo: "0", want: Access{}},
		"sudo that makes no sense": {sudo: "-1", want: Access{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := resolve(tt.group, tt.sudo, lookup(tt.groups))
			if fault.Code(err) != tt.code || (err != nil) != (tt.code != "") {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	broken := errors.New("the directory service is away")
	if _, err := resolve("", "", func(string) (int, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestEncodeACL(t *testing.T) {
	// What setfacl -m u:1000:rw,u:1001:rw writes for a file of mode 0640.
	want := []byte{
		2, 0, 0, 0,
		1, 0, 6, 0, 255, 255, 255, 255,
		2, 0, 6, 0, 0xe8, 3, 0, 0,
		2, 0, 6, 0, 0xe9, 3, 0, 0,
		4, 0, 4, 0, 255, 255, 255, 255,
		16, 0, 6, 0, 255, 255, 255, 255,
		32, 0, 0, 0, 255, 255, 255, 255,
	}
	if diff := cmp.Diff(want, encodeACL(0o640, read|write, []int{1001, 1000, 1001})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// The caller may always set an ACL and its own group on its own files, so this
// needs no root, only a file system that has ACLs.
func TestApply(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "docker.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	sub := filepath.Join(dir, "bin")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		path        string
		mode, shown os.FileMode
		grant       uint16
	}{
		"file":      {file, 0o600, 0o660, read | write},
		"socket":    {socket, 0o660, 0o660, read | write},
		"directory": {sub, 0o700, 0o750, read | execute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// Twice: it is applied again at each start.
			for range 2 {
				if err := (Access{GID: os.Getgid(), UIDs: []int{4242}}).Apply(tt.path, tt.mode); err != nil {
					t.Fatal(err)
				}
			}
			acl := make([]byte, 256)
			n, err := unix.Lgetxattr(tt.path, aclAttribute, acl)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(encodeACL(tt.mode, tt.grant, []int{4242}), acl[:n]); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if got := mode(t, tt.path); got != tt.shown {
				t.Errorf("mode %o", got)
			}
			if err := (Access{GID: os.Getgid()}).Apply(tt.path, tt.mode); err != nil {
				t.Fatal(err)
			}
			if _, err := unix.Lgetxattr(tt.path, aclAttribute, acl); !errors.Is(err, unix.ENODATA) {
				t.Errorf("the grant did not end: %v", err)
			}
			if got := mode(t, tt.path); got != tt.mode {
				t.Errorf("mode %o", got)
			}
		})
	}
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestApplyRefuses(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	if err := (Access{GID: os.Getgid()}).Apply(link, 0o600); err == nil {
		t.Error("followed a link")
	}
	if err := (Access{}).Apply(filepath.Join(t.TempDir(), "none"), 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := aclError("/x", unix.ENOTSUP); fault.Code(err) != "acl-unsupported" {
		t.Errorf("got %v", err)
	}
}
