//go:build integration

package keeper_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/nft"
	"github.com/boxyard/boxyard/internal/nft/keeper"
)

const table = "table ip demo {\n chain one {\n }\n}\n"

// bench is a network namespace in which processes of nft are kept.
type bench struct {
	t      *testing.T
	nft    string // a script: nft in the namespace
	socket string
	stop   func()
}

// newBench needs root; without it the test fails.
func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, nft: filepath.Join(dir, "nft-there"), socket: filepath.Join(dir, "nft.sock")}
	script := fmt.Sprintf("#!/bin/sh\nexec nsenter --net=%s nft \"$@\"\n", namespace(t))
	if err := os.WriteFile(b.nft, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	b.serve(b.nft)
	return b
}

func (b *bench) serve(path string) {
	b.t.Helper()
	listener, err := keeper.Listen(b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- keeper.New(path, slog.New(slog.DiscardHandler)).Serve(ctx, listener) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("Serve: %v", err)
		}
	})
	b.t.Cleanup(b.stop)
}

// namespace returns the path of a new network namespace, which is there until the test ends.
func namespace(t *testing.T) string {
	t.Helper()
	made := make(chan error, 1)
	var path string
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		made <- err
		<-t.Context().Done()
	}()
	if err := <-made; err != nil {
		t.Fatalf("new network namespace (this test needs root): %v", err)
	}
	return path
}

func (b *bench) borrow() *nft.Lease {
	b.t.Helper()
	lease, err := nft.Borrow(b.socket)
	if err != nil {
		b.t.Fatal(err)
	}
	return lease
}

func (b *bench) list() string {
	b.t.Helper()
	out, err := exec.CommandContext(b.t.Context(), b.nft, "list", "ruleset").CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// apply applies a script that must be accepted.
func apply(t *testing.T, lease *nft.Lease, script string) {
	t.Helper()
	if complaint, ok, err := lease.Apply([]byte(script)); err != nil || !ok || len(complaint) > 0 {
		t.Fatalf("Apply(%q) = %q, %v, %v", script, complaint, ok, err)
	}
}

func TestScriptsAreTransactions(t *testing.T) {
	b := newBench(t)
	lease := b.borrow()
	apply(t, lease, table)
	apply(t, lease, "add rule ip demo one counter comment \"Error: in a comment\"\n")

	complaint, ok, err := lease.Apply([]byte("add rule ip demo one accept\nadd rule ip demo absent accept\n"))
	if err != nil || ok {
		t.Fatalf("a rule in a chain that is not there: %v, %v", ok, err)
	}
	if want := "/dev/stdin:2:"; !strings.HasPrefix(string(complaint), want) || !strings.Contains(string(complaint), "No such file or directory") {
		t.Errorf("complaint %q, want one that begins with %s and says what is missing", complaint, want)
	}
	if complaint, ok, err := lease.Apply([]byte("nonsense\n")); err != nil || ok {
		t.Errorf("nonsense: %q, %v, %v", complaint, ok, err)
	}
	apply(t, lease, "")
	apply(t, lease, strings.Repeat("add rule ip demo one drop\n", 20_000))
	if err := lease.Return(); err != nil {
		t.Error(err)
	}
	if rules := b.list(); strings.Contains(rules, "accept") || strings.Count(rules, "drop") != 20_000 {
		t.Errorf("%d drops, and of the transaction that failed: %v", strings.Count(rules, "drop"), strings.Contains(rules, "accept"))
	}
}

func TestASessionIsLentAgain(t *testing.T) {
	b := newBench(t)
	for i := range 3 {
		lease := b.borrow()
		apply(t, lease, fmt.Sprintf("table ip demo%d {\n}\n", i))
		giveBack(t, lease)
	}
	if got := len(b.processes()); got != 1 {
		t.Errorf("%d processes of nft, want 1", got)
	}
}

func TestWhatIsLentOutlivesTheKeeper(t *testing.T) {
	b := newBench(t)
	lease := b.borrow()
	b.stop()
	apply(t, lease, table)
	_ = lease.Return() // nobody may be there to take it
	if got := b.list(); !strings.Contains(got, "chain one") {
		t.Errorf("not applied: %s", got)
	}
	b.untilNone()
}

func TestALeaseThatIsNotReturnedEndsItsProcess(t *testing.T) {
	b := newBench(t)
	if err := b.borrow().End(); err != nil {
		t.Fatal(err)
	}
	b.untilNone()
}

func TestAKilledProcessIsReplaced(t *testing.T) {
	b := newBench(t)
	lease := b.borrow()
	apply(t, lease, table)
	b.kill()
	if _, ok, err := lease.Apply([]byte(table)); ok || !errors.Is(err, nft.ErrNotApplied) {
		t.Errorf("with a process that was killed: %v, %v", ok, err)
	}
	_ = lease.End()

	lease = b.borrow()
	apply(t, lease, table)
	giveBack(t, lease)
	b.kill()
	lease = b.borrow()
	apply(t, lease, table)
	_ = lease.Return()
}

func TestAProcessIsKilledWhileItApplies(t *testing.T) {
	b := newBench(t)
	lease := b.borrow()
	apply(t, lease, table)
	killed := make(chan struct{})
	go func() {
		defer close(killed)
		<-time.After(20 * time.Millisecond)
		b.kill()
	}()
	// Takes a few hundred milliseconds.
	_, ok, err := lease.Apply([]byte(strings.Repeat("add rule ip demo one drop\n", 50_000)))
	<-killed
	if ok || !errors.Is(err, nft.ErrNotApplied) {
		t.Errorf("Apply: %v, %v, want %v", ok, err, nft.ErrNotApplied)
	}
	if strings.Contains(b.list(), "drop") {
		t.Error("it was applied")
	}
	_ = lease.End()
}

func TestThereAreNotTooMany(t *testing.T) {
	b := newBench(t)
	var leases []*nft.Lease
	for {
		lease, err := nft.Borrow(b.socket)
		if errors.Is(err, nft.ErrNone) {
			break
		}
		if err != nil || len(leases) == 10 {
			t.Fatalf("lease %d: %v", len(leases), err)
		}
		leases = append(leases, lease)
	}
	for i, lease := range leases {
		apply(t, lease, fmt.Sprintf("table ip demo%d {\n}\n", i))
		_ = lease.Return()
	}
}

func TestAnNFTThatDoesNotAnswerIsLeftAlone(t *testing.T) {
	b := newBench(t)
	b.stop()
	b.serve("/bin/true")
	for range 5 {
		if _, err := nft.Borrow(b.socket); !errors.Is(err, nft.ErrNone) {
			t.Errorf("Borrow: %v, want %v", err, nft.ErrNone)
		}
	}
}

// TestTheProgram runs cmd/nft as dockerd and kube-proxy do.
func TestTheProgram(t *testing.T) {
	b := newBench(t)
	program := filepath.Join(t.TempDir(), "nft")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/boxyard/boxyard/cmd/nft").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(script string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Stdin = strings.NewReader(script)
		cmd.Env = nft.Lent{Socket: b.socket, Path: b.nft}.Environ(os.Environ())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	expect := func(what, want string) {
		t.Helper()
		if got := b.list(); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in %s", what, want, got)
		}
	}
	if out, err := run(table, "-f", "-"); err != nil || out != "" {
		t.Errorf("-f -: %v: %s", err, out)
	}
	expect("lent", "chain one")
	if out, err := run("delete table ip missing\n", "-f", "-"); err == nil || !strings.HasPrefix(out, "/dev/stdin:1:17-23: Error: ") {
		t.Errorf("an error: %v: %s", err, out)
	}
	if out, err := run("", "--version"); err != nil || !strings.HasPrefix(out, "nftables v") {
		t.Errorf("--version: %v: %s", err, out)
	}
	if out, err := run("", "list", "tables"); err != nil || out != "table ip demo\n" {
		t.Errorf("list: %v: %s", err, out)
	}
	there := namespace(t)
	elsewhere := exec.CommandContext(t.Context(), "nsenter", "--net="+there, program, "-f", "-")
	elsewhere.Stdin = strings.NewReader("table ip elsewhere {\n}\n")
	elsewhere.Env = nft.Lent{Socket: b.socket, Path: "/usr/sbin/nft"}.Environ(os.Environ())
	if out, err := elsewhere.CombinedOutput(); err != nil {
		t.Errorf("in another network namespace: %v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "nsenter", "--net="+there, "nft", "list", "tables").CombinedOutput()
	if err != nil || string(out) != "table ip elsewhere\n" || strings.Contains(b.list(), "elsewhere") {
		t.Errorf("in another network namespace: %v: %s, and here: %s", err, out, b.list())
	}
	b.stop()
	if out, err := run("add chain ip demo two\n", "-f", "-"); err != nil {
		t.Errorf("without a keeper: %v: %s", err, out)
	}
	expect("without a keeper", "chain two")
}

// processes are those of nft that this test started.
func (b *bench) processes() []int {
	b.t.Helper()
	out, _ := exec.CommandContext(b.t.Context(), "pgrep", "-P", fmt.Sprint(os.Getpid()), "-x", "nft").Output()
	var pids []int
	for word := range strings.FieldsSeq(string(out)) {
		var pid int
		if _, err := fmt.Sscan(word, &pid); err != nil {
			b.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func (b *bench) kill() {
	b.t.Helper()
	for _, pid := range b.processes() {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			b.t.Fatal(err)
		}
	}
	b.untilNone()
}

func (b *bench) untilNone() {
	b.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if len(b.processes()) == 0 {
			return
		}
	}
	b.t.Fatal("a process of nft does not end")
}

// giveBack returns the lease, and gives the keeper time to notice.
func giveBack(t *testing.T, lease *nft.Lease) {
	t.Helper()
	if err := lease.Return(); err != nil {
		t.Fatal(err)
	}
	<-time.After(100 * time.Millisecond)
}
