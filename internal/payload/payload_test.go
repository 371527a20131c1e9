package payload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/payload"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func open(t *testing.T, exe string) *payload.Payload {
	t.Helper()
	p, err := payload.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func extract(t *testing.T, exe, root string) payload.Set {
	t.Helper()
	s, err := open(t, exe).Extract(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// names are those in the root directory, but for the lock.
func names(t *testing.T, root string) []string {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		if e.Name() != ".lock" {
			found = append(found, e.Name())
		}
	}
	return found
}

func TestExtract(t *testing.T) {
	c := testContent()
	exe, _ := pack(t, c)
	root := filepath.Join(t.TempDir(), "data", "payload")
	s := extract(t, exe, root)

	for name, want := range map[string][]byte{
		"engine": c.engine, "dockerd": c.engine, "cli-plugins/dockerd": c.engine, "runc": c.runc, "cni/bridge": c.bridge,
	} {
		if !bytes.Equal(read(t, s.Path(name)), want) {
			t.Errorf("%s has other content than was packed", name)
		}
	}
	info, err := os.Stat(s.Path("cni/bridge"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode of cni/bridge: %v, %v; want 0755", info.Mode(), err)
	}
	if got, err := filepath.EvalSymlinks(filepath.Join(root, "current")); err != nil || got != s.Dir {
		t.Errorf("current leads to %q, %v; want %q", got, err, s.Dir)
	}
	if want := map[string]string{"runc": "1.5.2", "boxyard": "dev"}; !cmp.Equal(s.Versions, want) {
		t.Error(cmp.Diff(want, s.Versions))
	}
}

func TestExtractOnce(t *testing.T) {
	exe, _ := pack(t, testContent())
	root := t.TempDir()
	s := extract(t, exe, root)
	before, err := os.Stat(s.Path("engine"))
	if err != nil {
		t.Fatal(err)
	}
	again := extract(t, exe, root)
	after, err := os.Stat(again.Path("engine"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("a second Extract wrote the files again")
	}
}

func TestExtractRepairs(t *testing.T) {
	damages := map[string]func(s payload.Set) error{
		"a file is short":    func(s payload.Set) error { return os.Truncate(s.Path("engine"), 10) },
		"a file is gone":     func(s payload.Set) error { return os.Remove(s.Path("cni/bridge")) },
		"a mode has changed": func(s payload.Set) error { return os.Chmod(s.Path("runc"), 0o600) },
		"a link is elsewhere": func(s payload.Set) error {
			return errors.Join(os.Remove(s.Path("dockerd")), os.Symlink("runc", s.Path("dockerd")))
		},
		"it was not finished": func(s payload.Set) error { return os.Remove(s.Path(".complete")) },
	}
	c := testContent()
	exe, _ := pack(t, c)
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			s := extract(t, exe, root)
			if err := damage(s); err != nil {
				t.Fatal(err)
			}
			s = extract(t, exe, root)
			if !bytes.Equal(read(t, s.Path("dockerd")), c.engine) || !bytes.Equal(read(t, s.Path("cni/bridge")), c.bridge) {
				t.Error("the damage is still there")
			}
			if got, want := names(t, root), []string{filepath.Base(s.Dir), "current"}; !cmp.Equal(got, want) {
				t.Error(cmp.Diff(want, got))
			}
		})
	}
}

func TestAlteredFileIsRefused(t *testing.T) {
	exe, program := pack(t, testContent())
	whole := read(t, exe)
	// Every region of the file: the program, the frames, the manifest, each byte of the footer's end.
	places := []int{100, program - 1, program, program + 40, program + 200}
	for i := 1; i < 200; i += 7 {
		places = append(places, len(whole)-i)
	}
	for _, place := range places {
		t.Run(fmt.Sprintf("byte %d", place-program), func(t *testing.T) {
			altered := bytes.Clone(whole)
			altered[place] ^= 0x10
			refuse(t, altered)
		})
	}
	for _, size := range []int{program + 1, program + 100, len(whole) - 100, len(whole) - 1} {
		t.Run(fmt.Sprintf("first %d bytes of payload", size-program), func(t *testing.T) {
			refuse(t, whole[:size])
		})
	}
	t.Run("bytes added", func(t *testing.T) { refuse(t, append(bytes.Clone(whole), "more"...)) })
}

// refuse expects a fault and an empty directory.
func refuse(t *testing.T, exe []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "boxyard")
	if err := os.WriteFile(path, exe, 0o755); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	p, err := payload.Open(path)
	if err == nil {
		_, err = p.Extract(t.Context(), root)
	}
	if fault.Code(err) != "payload-corrupt" {
		t.Errorf("error %v, want a fault payload-corrupt", err)
	}
	var f *fault.Error
	if errors.As(err, &f) && f.Hint == "" {
		t.Error("the fault has no hint")
	}
	if got := names(t, root); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestNoPayload(t *testing.T) {
	exe, program := pack(t, testContent())
	bare := filepath.Join(t.TempDir(), "bare")
	if err := os.WriteFile(bare, read(t, exe)[:program], 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := payload.Open(bare); !errors.Is(err, payload.ErrNone) {
		t.Errorf("error %v, want ErrNone", err)
	}
}

func TestConcurrentExtract(t *testing.T) {
	exe, _ := pack(t, testContent())
	root := t.TempDir()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			p, err := payload.Open(exe)
			if err == nil {
				_, err = p.Extract(t.Context(), root)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := names(t, root); len(got) != 2 {
		t.Errorf("in the directory: %v, want one set and current", got)
	}
}

func TestExtractWaitsForTheLock(t *testing.T) {
	exe, _ := pack(t, testContent())
	root := t.TempDir()
	lock, err := os.Create(filepath.Join(root, ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := open(t, exe).Extract(ctx, root); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want a deadline exceeded", err)
	}
}

func TestUpgradeKeepsThePreviousSet(t *testing.T) {
	root := t.TempDir()
	var sets []payload.Set
	for _, version := range []string{"1", "2", "3"} {
		c := testContent()
		c.versions = map[string]string{"runc": version}
		exe, _ := pack(t, c)
		sets = append(sets, extract(t, exe, root))
	}
	for link, want := range map[string]string{"current": sets[2].Dir, "previous": sets[1].Dir} {
		if got, err := filepath.EvalSymlinks(filepath.Join(root, link)); err != nil || got != want {
			t.Errorf("%s leads to %q, %v; want %q", link, got, err, want)
		}
	}
	if _, err := os.Stat(sets[0].Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the oldest set: %v, want it gone", err)
	}
}

func TestUpgradeKeepsSetsThatRun(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	var first payload.Set
	for _, version := range []string{"1", "2", "3"} {
		c := testContent()
		c.runc = read(t, sleep)
		c.versions = map[string]string{"runc": version}
		exe, _ := pack(t, c)
		s := extract(t, exe, root)
		if version != "1" {
			continue
		}
		first = s
		if err := os.Chmod(s.Path("runc"), 0o755); err != nil {
			t.Fatal(err)
		}
		shim := exec.CommandContext(t.Context(), s.Path("runc"), "60")
		if err := shim.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = shim.Process.Kill()
			_ = shim.Wait()
		}()
	}
	if _, err := os.Stat(first.Dir); err != nil {
		t.Errorf("a set that a process runs from: %v, want it there", err)
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	exe, _ := pack(t, testContent())
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, ".tmp-123", "cni"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := extract(t, exe, root)
	if got, want := names(t, root), []string{filepath.Base(s.Dir), "current"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestFromDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "versions.json"), []byte(`{"runc":"1.5.2"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := payload.FromDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.Extract(t.Context(), filepath.Join(t.TempDir(), "unused"))
	if err != nil || s.Dir != dir || s.Versions["runc"] != "1.5.2" {
		t.Errorf("set %+v, %v; want the directory itself", s, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "runc"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	changed, err := payload.FromDir(dir)
	if err != nil || changed.ID() == p.ID() {
		t.Errorf("ID %q after a change, %v; want another", changed.ID(), err)
	}
}

func TestFromDirWithoutBinaries(t *testing.T) {
	_, err := payload.FromDir(t.TempDir())
	if fault.Code(err) != "payload-missing" {
		t.Errorf("error %v, want a fault payload-missing", err)
	}
	var f *fault.Error
	if errors.As(err, &f) && !strings.Contains(f.Hint, "make payload-dir") {
		t.Errorf("hint %q does not say how to make them", f.Hint)
	}
}
