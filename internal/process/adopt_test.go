package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAdoptsAfterTheDaemonWasKilled(t *testing.T) {
	s := spec(t, "steady")
	pid := killedDaemon(t, s)
	s.Version = "v2"
	p := start(t, s)
	if !p.Adopted() || p.PID() != pid || p.Version() != "v1" {
		t.Fatalf("adopted %v, pid %d want %d, version %s", p.Adopted(), p.PID(), pid, p.Version())
	}
	select {
	case <-p.Done():
		t.Fatalf("ended: %v", p.Err())
	default:
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	var exit *ExitError
	if !errors.As(p.Err(), &exit) || !strings.Contains(exit.How, "unknown") {
		t.Errorf("got %v", p.Err())
	}
	next := start(t, s)
	if next.Adopted() || next.PID() == pid || next.Version() != "v2" {
		t.Errorf("adopted %v, pid %d", next.Adopted(), next.PID())
	}
}

// A daemon that dies between the start and the record leaves an intent, or with a broken disk nothing.
func TestFindsAChildThatWasNotRecorded(t *testing.T) {
	for name, forget := range map[string]func(t *testing.T, s Spec){
		"intent": func(t *testing.T, s Spec) {
			r, err := readRecord(s)
			if err != nil || r == nil {
				t.Fatal(r, err)
			}
			r.PID, r.StartTime = 0, 0
			if err := r.write(s); err != nil {
				t.Fatal(err)
			}
		},
		"no record": func(t *testing.T, s Spec) {
			if err := os.Remove(recordFile(s)); err != nil {
				t.Fatal(err)
			}
		},
		"broken record": func(t *testing.T, s Spec) {
			if err := os.WriteFile(recordFile(s), []byte(`{"pid":`), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, "family")
			pid := killedDaemon(t, s)
			grandchild := 0
			eventually(t, "its own child", func() bool {
				data, _ := os.ReadFile(s.LogFile)
				_, rest, _ := strings.Cut(string(data), "grandchild ")
				n, _ := fmt.Sscanf(rest, "%d\n", &grandchild)
				return n == 1
			})
			forget(t, s)
			for of, want := range map[int]bool{pid: true, grandchild: false} {
				st, err := readStat(of)
				if err != nil {
					t.Fatal(err)
				}
				if got := isChild(s, record{ArgsHash: hashArgs(s.argv())}, of, st); got != want {
					t.Errorf("isChild(%d) is %v", of, got)
				}
			}
			p := start(t, s)
			if !p.Adopted() || p.PID() != pid {
				t.Errorf("adopted %v, pid %d want %d", p.Adopted(), p.PID(), pid)
			}
			if r, err := readRecord(s); err != nil || r == nil || r.PID != pid {
				t.Errorf("record %+v, %v", r, err)
			}
		})
	}
}

func TestAnIntentWithOtherArgumentsIsStillFound(t *testing.T) {
	s := spec(t, "steady")
	pid := killedDaemon(t, s)
	r, err := readRecord(s)
	if err != nil || r == nil {
		t.Fatal(r, err)
	}
	r.PID = 0
	if err := r.write(s); err != nil {
		t.Fatal(err)
	}
	s.Args = []string{"--changed"}
	if p := start(t, s); p.PID() != pid {
		t.Errorf("pid %d, want %d", p.PID(), pid)
	}
}

func TestAStrangersProcessIsNeitherAdoptedNorSignalled(t *testing.T) {
	for name, change := range map[string]func(r *record){
		"recycled pid": func(r *record) { r.StartTime-- },
		"other boot":   func(r *record) { r.BootID = "other" },
		"init":         func(r *record) { r.PID = 1 },
		"nobody":       func(r *record) { r.PID = 1 << 30 },
		"negative":     func(r *record) { r.PID = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t, "steady")
			stranger := exec.Command(s.Path)
			stranger.Env = s.Env
			if err := stranger.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = stranger.Process.Kill()
				_ = stranger.Wait()
			})
			st, err := readStat(stranger.Process.Pid)
			if err != nil {
				t.Fatal(err)
			}
			boot, err := bootID()
			if err != nil {
				t.Fatal(err)
			}
			r := record{PID: stranger.Process.Pid, StartTime: st.startTime, BootID: boot}
			change(&r)
			if err := os.MkdirAll(s.StateDir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := r.write(s); err != nil {
				t.Fatal(err)
			}
			p := start(t, s)
			if p.Adopted() || p.PID() == stranger.Process.Pid {
				t.Fatalf("adopted %d", p.PID())
			}
			if err := p.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
				t.Errorf("the stranger: %v", err)
			}
		})
	}
}

func TestOtherInstancesChildIsNotFound(t *testing.T) {
	one, two := spec(t, "steady"), spec(t, "steady")
	p, q := start(t, one), start(t, two)
	if q.Adopted() || p.PID() == q.PID() {
		t.Errorf("pids %d and %d", p.PID(), q.PID())
	}
}

func TestAReplacedRecordIsNotRemoved(t *testing.T) {
	s := spec(t, "steady")
	p := start(t, s)
	r := p.record
	r.StartTime++
	if err := r.write(s); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := readRecord(s); err != nil || now == nil {
		t.Errorf("record %v, %v", now, err)
	}
}

func TestReadStatOfUnusualCommand(t *testing.T) {
	st, err := readStat(os.Getpid())
	if err != nil || st.dead || st.startTime == 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	// A process that was not waited for.
	c := exec.Command("/bin/true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		st, err := readStat(c.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if st.dead {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("never seen as dead")
		}
	}
	if _, err := openVerified(c.Process.Pid, st.startTime); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a zombie: %v", err)
	}
	_ = c.Wait()
	if _, err := AnonymousMemory(c.Process.Pid); err == nil {
		t.Error("memory of nobody")
	}
}

func TestNoChildIsLostWhereverTheDaemonIsKilled(t *testing.T) {
	for round := range 12 {
		s := spec(t, "steady")
		daemon := daemonFor(t, s)
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the intent", func() bool {
			r, err := readRecord(s)
			return err == nil && r != nil
		})
		<-time.After(time.Duration(round) * 200 * time.Microsecond) // somewhere in the start
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		p := start(t, s)
		if all := children(t, s); !slices.Equal(all, []int{p.PID()}) {
			t.Errorf("round %d: children %v, known is %d", round, all, p.PID())
		}
	}
}

// children are the pids of all processes that are s's.
func children(t *testing.T, s Spec) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		st, err := readStat(pid)
		if err == nil && isChild(s, record{ArgsHash: hashArgs(s.argv())}, pid, st) {
			pids = append(pids, pid)
		}
	}
	return pids
}
