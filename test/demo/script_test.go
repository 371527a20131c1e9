package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/load"
)

func testScript(t *testing.T) (*script, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	return newScript(t.Context(), &out, t.TempDir(), "/bin/echo"), &out
}

func TestRunShowsCommandAndOutput(t *testing.T) {
	s, out := testScript(t)
	got := s.run("docker", "ps", "--format", "{{.Names}} it's")
	want := "$ docker ps --format '{{.Names}} it'\\''s'\n  docker ps --format {{.Names}} it's\n"
	if s.err != nil || out.String() != want {
		t.Errorf("%v\ngot  %q\nwant %q", s.err, out.String(), want)
	}
	s.expect("docker ps", got, "docker ps", "it's")
	if s.err != nil {
		t.Error(s.err)
	}
}

func TestFirstFailureEndsTheScript(t *testing.T) {
	s, out := testScript(t)
	s.run("sh", "-c", "echo why; exit 3")
	if s.err == nil || !strings.Contains(s.err.Error(), "exit status 3") || !strings.Contains(out.String(), "why\n") {
		t.Fatalf("%v\n%s", s.err, out)
	}
	first, shown := s.err, out.Len()
	s.title("next")
	s.run("echo", "more")
	s.note("more")
	s.expect("a text", "abc", "z")
	s.eventually(time.Hour, "never", func() error { t.Error("a check ran after the failure"); return nil })
	if s.err != first || out.Len() != shown {
		t.Errorf("after the failure: %v\n%s", s.err, out)
	}
}

func TestExpectNamesWhatIsMissing(t *testing.T) {
	s, _ := testScript(t)
	s.expect("the page", "one two", "one", "three")
	if s.err == nil || !strings.Contains(s.err.Error(), `the page: expected to find "three"`) {
		t.Errorf("got %v", s.err)
	}
}

func TestEventuallySaysWhatItWaitedFor(t *testing.T) {
	s, _ := testScript(t)
	s.eventually(time.Millisecond, "the moon is full", func() error { return errors.New("half") })
	if s.err == nil || !strings.Contains(s.err.Error(), "the moon is full: half") {
		t.Errorf("got %v", s.err)
	}
}

func TestLongOutputIsTrimmed(t *testing.T) {
	s, out := testScript(t)
	s.show(strings.Repeat("\x1b[1mline\x1b[0m\n", 100) + strings.Repeat("x", 500))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != headLines+tailLines+1 || lines[0] != "line" || !strings.Contains(out.String(), "... 85 more lines ...") {
		t.Errorf("%d lines:\n%s", len(lines), out)
	}
	if last := lines[len(lines)-1]; len(last) > maxWidth+10 {
		t.Errorf("a line of %d characters", len(last))
	}
}

func TestOneFailedRequestFailsTheUpdate(t *testing.T) {
	s, _ := testScript(t)
	d := &demo{script: s, rate: 1}
	d.judgeLoad(t.TempDir()+"/update.csv", time.Second, [][]load.Result{{{Series: "a", Status: 200}, {Series: "a", Err: "read: EOF"}}}, []error{nil})
	if s.err == nil || !strings.Contains(s.err.Error(), "1 of 2 requests failed") {
		t.Errorf("got %v", s.err)
	}
}

func TestPodFromJSON(t *testing.T) {
	s, _ := testScript(t)
	d := &demo{script: s}
	var p pod
	d.decode(&p, "printf", "%s", `{"metadata":{"name":"web-1"},"status":{"conditions":[{"type":"Ready","status":"True"}],
		"containerStatuses":[{"restartCount":2,"state":{"waiting":{"reason":"ErrImagePull"}}}]}}`)
	if s.err != nil || !p.ready() || p.restarts() != 2 || p.waiting() != "ErrImagePull" {
		t.Errorf("%v: %+v", s.err, p)
	}
}
