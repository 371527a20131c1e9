// Package keeper keeps processes of nft(8) and lends them; see package nft for what that is good for.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// idleTime is how long a process stays that nobody borrows: it has a few megabytes.
	idleTime = 15 * time.Second
	// most is how many there are at once. Who comes then runs nft by itself.
	most = 4
	// uses is how often one is lent: it remembers each command for a user who wants it back.
	uses = 1000
	// patience is how many starts in a row may fail: then this nft cannot be used so. One may have been killed.
	patience = 3
)

// Keeper starts processes of nft when they are asked for.
type Keeper struct {
	path string // of nft
	log  *slog.Logger

	mu     sync.Mutex
	free   []*process
	alive  int
	closed bool
	failed int // starts since the last that succeeded
}

// New returns a keeper of processes of the program at path, or found by that name.
func New(path string, log *slog.Logger) *Keeper { return &Keeper{path: path, log: log} }

// Listen makes the socket that Serve lends on, in place of what another life left there. Whoever connects waits until
// Serve is called. Only the user whose process this is may connect.
func Listen(socket string) (*net.UnixListener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of another life: %w", err)
	}
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("listen for those who want nft: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// Serve lends to whoever connects to the listener, until ctx is done; it closes the listener and ends the processes
// that nobody has.
func (k *Keeper) Serve(ctx context.Context, listener *net.UnixListener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	defer k.close()
	for {
		connection, err := listener.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return errors.Join(fmt.Errorf("accept one who wants nft: %w", err), listener.Close())
		}
		go k.lend(ctx, connection)
	}
}

// lend serves one borrower. One that gets nothing runs nft by itself.
func (k *Keeper) lend(ctx context.Context, connection *net.UnixConn) {
	defer func() { _ = connection.Close() }()
	p, err := k.take()
	if err != nil {
		k.log.WarnContext(ctx, "no process of nft could be kept for others; they start their own", "error", err)
	}
	if p == nil {
		return
	}
	if _, _, err := connection.WriteMsgUnix(p.session.Tail, p.session.Rights(), nil); err != nil {
		k.giveBack(p)
		return
	}
	if n, _ := connection.Read(make([]byte, 1)); n == 1 {
		k.giveBack(p)
		return
	}
	k.end(p)
}

// take gives a process that is free, or a new one; nil where there are too many.
func (k *Keeper) take() (*process, error) {
	k.mu.Lock()
	for n := len(k.free); n > 0; n = len(k.free) {
		p := k.free[n-1]
		k.free = k.free[:n-1]
		p.idle.Stop()
		if p.hasEnded() {
			k.alive--
			_ = p.session.Close()
			continue
		}
		k.mu.Unlock()
		return p, nil
	}
	if k.closed || k.failed == patience || k.alive == most {
		k.mu.Unlock()
		return nil, nil //nolint:nilnil // none is no error
	}
	k.alive++
	k.mu.Unlock()

	p, err := start(k.path)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.alive--
		k.failed++
		return nil, err
	}
	k.failed = 0
	return p, nil
}

func (k *Keeper) giveBack(p *process) {
	k.mu.Lock()
	p.uses++
	if !k.closed && p.uses < uses {
		k.free = append(k.free, p)
		p.idle = time.AfterFunc(idleTime, func() { k.expire(p) })
		k.mu.Unlock()
		return
	}
	k.mu.Unlock()
	k.end(p)
}

// expire ends a process that is still free.
func (k *Keeper) expire(p *process) {
	k.mu.Lock()
	for i, other := range k.free {
		if other == p {
			k.free = append(k.free[:i], k.free[i+1:]...)
			k.mu.Unlock()
			k.end(p)
			return
		}
	}
	k.mu.Unlock()
}

func (k *Keeper) end(p *process) {
	p.end()
	k.mu.Lock()
	k.alive--
	k.mu.Unlock()
}

// close ends what is free; what is lent ends with its lease.
func (k *Keeper) close() {
	k.mu.Lock()
	k.closed = true
	free := k.free
	k.free = nil
	k.mu.Unlock()
	for _, p := range free {
		k.end(p)
	}
}
