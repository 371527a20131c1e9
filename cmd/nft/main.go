// Command nft stands before nft(8) in the PATH of dockerd and of kube-proxy. It has a script that comes by standard
// input (`nft -f -`) applied by a process of nft that Boxyard keeps; for everything else, and where there is no such
// process, it becomes nft itself.
package main

import (
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/nft"
)

func main() {
	if !slices.Equal(os.Args[1:], []string{"-f", "-"}) {
		become()
	}
	lease, err := nft.Borrow(os.Getenv(nft.SocketVariable))
	if err != nil {
		become()
	}
	script, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	complaint, ok, err := lease.Apply(script)
	if errors.Is(err, nft.ErrNotApplied) {
		// The script is in a file already, at whose beginning we still are.
		if err := unix.Dup3(int(lease.Script.Fd()), unix.Stdin, 0); err != nil {
			fail(err)
		}
		become()
	}
	_, _ = os.Stderr.Write(complaint)
	if err != nil {
		fail(err)
	}
	// What was done is done, whatever becomes of the session.
	_ = lease.Return()
	if !ok {
		os.Exit(1)
	}
}

// become replaces this program with nft, whose place the environment gives.
func become() {
	path := os.Getenv(nft.PathVariable)
	if path == "" {
		path = "/usr/sbin/nft"
	}
	fail(&os.PathError{Op: "execute", Path: path, Err: unix.Exec(path, os.Args, os.Environ())})
}

func fail(err error) {
	_, _ = os.Stderr.WriteString("nft: " + err.Error() + "\n")
	os.Exit(1)
}
