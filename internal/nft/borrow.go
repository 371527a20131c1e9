package nft

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNone is the error of Borrow where no session is to be had.
var ErrNone = errors.New("no process of nft to be had")

// LongestTail bounds the packet that lends a session.
const LongestTail = 4096

// files are passed with it: input, errors, script, netlink socket.
const files = 4

// patience is how long a keeper may take, in seconds: it starts nft in a fraction of one. Who waits longer goes without.
const patience = 5

// Lease is a borrowed session, for its borrower alone.
type Lease struct {
	Session
	keeper int
}

// Borrow asks the keeper that listens at socket. The error is ErrNone, or wraps it, where nft must be run otherwise: also
// where the calling thread is in another network namespace.
func Borrow(socket string) (*Lease, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(ErrNone, err)
	}
	lease := &Lease{keeper: fd}
	if err := lease.take(socket); err != nil {
		_ = unix.Close(fd)
		return nil, errors.Join(ErrNone, err)
	}
	return lease, nil
}

func (l *Lease) take(socket string) error {
	for _, limit := range []int{unix.SO_SNDTIMEO, unix.SO_RCVTIMEO} { // the first holds for Connect
		if err := unix.SetsockoptTimeval(l.keeper, unix.SOL_SOCKET, limit, &unix.Timeval{Sec: patience}); err != nil {
			return err
		}
	}
	if err := unix.Connect(l.keeper, &unix.SockaddrUnix{Name: socket}); err != nil {
		return err
	}
	tail, rights := make([]byte, LongestTail), make([]byte, unix.CmsgSpace(files*4))
	n, rightsLength, _, _, err := unix.Recvmsg(l.keeper, tail, rights, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNone
	}
	messages, err := unix.ParseSocketControlMessage(rights[:rightsLength])
	if err != nil || len(messages) != 1 {
		return errors.Join(ErrNone, err)
	}
	passed, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(passed) != files {
		return errors.Join(ErrNone, err)
	}
	l.Session = Session{
		Stdin:   os.NewFile(uintptr(passed[0]), "nft's input"),
		Stderr:  os.NewFile(uintptr(passed[1]), "nft's errors"),
		Script:  os.NewFile(uintptr(passed[2]), "nft's script"),
		Netlink: os.NewFile(uintptr(passed[3]), "nf_tables"),
		Tail:    tail[:n],
	}
	if here, err := l.isHere(); !here || err != nil {
		return errors.Join(ErrNone, err, l.giveBack(), l.Close())
	}
	return nil
}

// isHere tells whether the session changes the rules of the network namespace in which the calling thread is. dockerd
// also changes those of its containers.
func (l *Lease) isHere() (bool, error) {
	theirs, err := unix.IoctlRetInt(int(l.Netlink.Fd()), unix.SIOCGSKNS)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(theirs) }()
	var session, own unix.Stat_t
	if err := errors.Join(unix.Fstat(theirs, &session), unix.Stat("/proc/thread-self/ns/net", &own)); err != nil {
		return false, err
	}
	return session.Dev == own.Dev && session.Ino == own.Ino, nil
}

// Return gives the session back, after an Apply without an error. A lease that ends otherwise, be it with its process,
// ends the session.
func (l *Lease) Return() error { return errors.Join(l.giveBack(), l.End()) }

func (l *Lease) giveBack() error {
	_, err := unix.Write(l.keeper, []byte{1})
	return err
}

// End ends the lease and the session.
func (l *Lease) End() error {
	return errors.Join(l.Close(), unix.Close(l.keeper))
}

// Rights is the control message, with the session's files, of the packet that lends a session; its data is the tail.
func (s *Session) Rights() []byte {
	return unix.UnixRights(int(s.Stdin.Fd()), int(s.Stderr.Fd()), int(s.Script.Fd()), int(s.Netlink.Fd()))
}
