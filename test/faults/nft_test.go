//go:build faults

package faults

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/test/harness"
)

// TestNFTKilled kills the processes of nft that stay while containers with published ports come and go. dockerd does
// not get over a change that failed (the address of that container is lost to it until it starts anew), and here none
// fails.
func TestNFTKilled(t *testing.T) {
	y := start(t, harness.Options{Config: "without: [cluster]\n"})
	y.must(y.Docker(t.Context(), "run", "--detach", "--name", "stays", "--publish", "8081:80", "boxyard/base", "sleep", "3600"))
	run := func() harness.Result {
		result, err := y.Exec(t.Context(), harness.Command{
			Name: y.Binary, Args: []string{"docker", "run", "--rm", "--publish", "8082:80", "boxyard/base", "true"},
		})
		if err != nil {
			t.Error(err)
		}
		return result
	}
	if result := run(); result.Code != 0 {
		t.Fatalf("without a fault: exit code %d\n%s", result.Code, result.Output())
	}
	before, err := y.belongings()
	if err != nil {
		t.Fatal(err)
	}
	killed, failed := 0, 0
	for range 60 {
		ended := make(chan harness.Result, 1)
		go func() { ended <- run() }()
		var result harness.Result
		for running := true; running; {
			select {
			case result = <-ended:
				running = false
			case <-time.After(3 * time.Millisecond):
				killed += y.killKept()
			}
		}
		if result.Code != 0 {
			failed++
			t.Errorf("a `docker run` failed with %d\n%s", result.Code, result.Output())
		}
	}
	t.Logf("%d processes of nft killed; %d of 60 `docker run` failed", killed, failed)
	if killed == 0 {
		t.Error("no process of nft was killed")
	}
	if result := run(); result.Code != 0 {
		t.Errorf("afterwards: exit code %d\n%s", result.Code, result.Output())
	}
	y.poll(30*time.Second, "there is no more than before", func() error { return y.hasNoMore(before) })
}

// killKept kills those that are kept, and not those that are started for one change.
func (y yard) killKept() (killed int) {
	y.t.Helper()
	processes, err := y.Part("nft")
	if err != nil {
		y.t.Fatal(err)
	}
	for _, p := range processes {
		if strings.HasSuffix(strings.TrimSpace(p.Args), "nft -i") && unix.Kill(p.PID, unix.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}
