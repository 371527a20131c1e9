package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/nft"
)

const (
	greetTime = 2 * time.Second // for a new process to answer
	endTime   = 2 * time.Second // for a process to end when its input has
)

type process struct {
	cmd     *exec.Cmd
	session *nft.Session
	ended   chan struct{}
	idle    *time.Timer // runs while it is free
	uses    int
}

// start starts `nft -i`, which answers when start returns without an error.
func start(path string) (*process, error) {
	session, theirs, err := files()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "-i") //nolint:noctx // it ends with its input
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = theirs.stdin, theirs.stderr, []*os.File{session.Script}
	// It would write the commands that it was given to a file in its home.
	cmd.Env = []string{"HOME=/proc", "PATH=" + os.Getenv("PATH"), "TERM=dumb"}
	err = cmd.Start()
	theirs.close()
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	p := &process{cmd: cmd, session: session, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	// Its errors are a pipe of Go's, which knows deadlines.
	err = errors.Join(session.Stderr.SetReadDeadline(time.Now().Add(greetTime)), session.Greet(), session.Stderr.SetReadDeadline(time.Time{}))
	if err == nil && len(session.Tail) > nft.LongestTail {
		err = errors.New("it complains too much")
	}
	if err != nil {
		p.end()
		return nil, fmt.Errorf("%s -i does not answer as expected: %w", path, err)
	}
	return p, nil
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// end ends the process, and kills it when that takes too long.
func (p *process) end() {
	_ = p.session.Close()
	select {
	case <-p.ended:
	case <-time.After(endTime):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// childFiles are a process' ends of its pipes.
type childFiles struct{ stdin, stderr *os.File }

func (c childFiles) close() {
	_ = c.stdin.Close()
	_ = c.stderr.Close()
}

// files makes both pipes, the script and the socket.
func files() (_ *nft.Session, _ childFiles, err error) {
	var made []*os.File
	defer func() {
		if err != nil {
			for _, f := range made {
				_ = f.Close()
			}
		}
	}()
	fd, err := unix.MemfdCreate("nft-script", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, childFiles{}, fmt.Errorf("make a file for scripts: %w", err)
	}
	script := os.NewFile(uintptr(fd), "nft-script")
	made = append(made, script)
	netlink, err := nft.OpenNetlink()
	if err != nil {
		return nil, childFiles{}, fmt.Errorf("open a socket of nf_tables: %w", err)
	}
	made = append(made, netlink)
	stdin, input, err := os.Pipe()
	if err != nil {
		return nil, childFiles{}, err
	}
	made = append(made, stdin, input)
	errs, stderr, err := os.Pipe()
	if err != nil {
		return nil, childFiles{}, err
	}
	session := &nft.Session{Stdin: input, Stderr: errs, Script: script, Netlink: netlink}
	return session, childFiles{stdin: stdin, stderr: stderr}, nil
}
