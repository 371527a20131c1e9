package filter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
	"golang.org/x/sys/unix"
)

// asInit has this program do what runc's init does, and say what a system call does then.
const asInit = "FILTER_TEST_AS_INIT"

func TestMain(m *testing.M) {
	if forbidden := os.Getenv(asInit); forbidden != "" {
		if err := initialize(rules(forbidden)); err != nil {
			fmt.Println("error:", err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func initialize(r *configs.Seccomp) error {
	if err := TakeGiven(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, err := seccomp.InitSeccomp(r); err != nil {
		return err
	}
	fmt.Println("sync:", unix.Fdatasync(-1), "pivot:", unix.PivotRoot("", ""))
	return nil
}

// rules forbid one system call, with an error that it never has by itself.
func rules(forbidden string) *configs.Seccomp {
	number := uint(unix.EXFULL)
	return &configs.Seccomp{
		DefaultAction: configs.Allow,
		Architectures: []string{"amd64", "x86", "x32"},
		Syscalls:      []*configs.Syscall{{Name: forbidden, Action: configs.Errno, ErrnoRet: &number}},
	}
}

// what an init says that is given the file, if there is one, and the rules that forbid this call.
func initOf(t *testing.T, forbidden string, file *os.File) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asInit+"="+forbidden)
	if file != nil {
		cmd.ExtraFiles = []*os.File{file}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func needWrap(t *testing.T) {
	t.Helper()
	if !Wrapped() {
		t.Fatal("this test is linked without the options of scripts/shim-ldflags.sh; make test has them")
	}
}

// made waits until the cache has the filter.
func made(t *testing.T, c *Cache, r *configs.Seccomp) *os.File {
	t.Helper()
	for range 500 {
		file, err := c.Find(r)
		if err != nil {
			t.Fatal(err)
		}
		if file != nil {
			t.Cleanup(func() { _ = file.Close() })
			return file
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no filter is made")
	return nil
}

// A container that is given a filter has what it would have had without, and the rules are not looked at again.
func TestGivenFilterIsTheContainers(t *testing.T) {
	needWrap(t)
	c, err := NewCache(filepath.Join(t.TempDir(), "filters"))
	if err != nil {
		t.Fatal(err)
	}
	const sync, pivot = "sync: exchange full pivot: no such file or directory", "sync: bad file descriptor pivot: exchange full"
	if file, err := c.Find(rules("fdatasync")); file != nil || err != nil {
		t.Fatalf("an empty cache has %v, %v", file, err)
	}
	file := made(t, c, rules("fdatasync"))
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Write([]byte("x")); !errors.Is(err, unix.EPERM) {
		t.Errorf("who gets hold of the file can write to it: %v", err)
	}
	_ = again.Close()
	files, err := filepath.Glob(filepath.Join(c.dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v are kept, %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kept file has %v, %v", info.Mode(), err)
	}
	for _, test := range []struct {
		forbidden string
		file      *os.File
		want      string
	}{
		{"fdatasync", nil, sync},
		{"fdatasync", file, sync},
		{"pivot_root", nil, pivot},
		{"pivot_root", made(t, c, rules("pivot_root")), pivot},
		{"pivot_root", file, sync}, // The shim never does that: it finds a file by its rules.
	} {
		if got := initOf(t, test.forbidden, test.file); got != test.want {
			t.Errorf("with %s forbidden and %v given: %s; want %s", test.forbidden, test.file, got, test.want)
		}
	}
}

// What is compiled for the cache is, byte for byte, what a container compiles for itself.
func TestCompiledIsWhatRuncCompiles(t *testing.T) {
	needWrap(t)
	first, err := compile(rules("fdatasync"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := compile(rules("fdatasync"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := compile(rules("pivot_root"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) || bytes.Equal(first, other) {
		t.Error("the program does not depend on the rules alone")
	}
	if err := unix.Fdatasync(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("compiling has changed this process: %v", err)
	}
}

func TestRulesThatCannotBeCompiledAreNotKept(t *testing.T) {
	needWrap(t)
	r := rules("fdatasync")
	r.Architectures = []string{"no such"}
	if program, err := compile(r); err == nil {
		t.Errorf("compiled %d bytes", len(program))
	}
}

// A file that is not a filter, or a broken one, is not taken for one.
func TestOtherFiles(t *testing.T) {
	needWrap(t)
	for name, test := range map[string]struct{ content, want string }{
		"another":  {"nothing of ours", "sync: exchange full pivot: no such file or directory"},
		"empty":    {magic, "error: a seccomp filter of 0 bytes is none"},
		"cut off":  {magic + "1234567", "error: a seccomp filter of 7 bytes is none"},
		"too long": {magic + strings.Repeat("12345678", maxInstructions+1), "error: a seccomp filter of 32769 bytes is none"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := initOf(t, "fdatasync", file); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
		_ = file.Close()
	}
}

func TestDamagedFilterIsMadeAnew(t *testing.T) {
	needWrap(t)
	c, err := NewCache(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path, err := c.path(rules("fdatasync"))
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"", "nothing of ours", magic, magic + "1234567"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if file, err := c.Find(rules("fdatasync")); file != nil || err != nil {
			t.Fatalf("%q gives %v, %v", content, file, err)
		}
		made(t, c, rules("fdatasync"))
	}
}

func TestCacheIsBounded(t *testing.T) {
	needWrap(t)
	dir := t.TempDir()
	c, err := NewCache(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range kept + 5 {
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := write(path, []byte("12345678")); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i) * time.Second)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	c.trim()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != kept {
		t.Errorf("%d files are kept, %v", len(entries), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "4")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old one is kept: %v", err)
	}
}

func TestNoCache(t *testing.T) {
	var c *Cache
	if file, err := c.Find(rules("fdatasync")); file != nil || err != nil {
		t.Errorf("got %v, %v", file, err)
	}
	if Wrapped() {
		if _, err := NewCache("/dev/null/filters"); err == nil {
			t.Error("a cache below a file")
		}
	}
}
