// Package nft applies scripts of nft(8) by a process of it that stays.
//
// A process of nft that applies one script and ends spends most of its time on its end: to close its netlink socket it
// waits until the kernel has freed what the transaction replaced. `nft -i`, which reads commands from its standard
// input, keeps the socket open. Sessions are started and kept by the package keeper, which lends them to others
// (Borrow); a borrower has the files of the process itself, so that it goes on when the keeper dies.
package nft

import (
	"bytes"
	"errors"
	"os"
)

// marker is no command: nft complains of it, which tells that everything before it was done.
const marker = "boxyard-has-come-to-the-end"

const (
	// include is one transaction, as `nft -f` is, of the file that the process inherits as its third. The file is opened anew each time, and so read from its beginning.
	include = `include "/proc/self/fd/3"` + "\n"
	// How nft begins what it says of a script, and of the one that includes it.
	inScript, inInclude = "/proc/self/fd/3:", "In file included from "
	// inStdin is how `nft -f -` begins it.
	inStdin = "/dev/stdin:"
)

// Errors of Apply when the process has ended before it said what became of the script.
var (
	ErrNotApplied = errors.New("nft ended before it had applied the script")
	ErrEnded      = errors.New("nft ended before it had said whether the script was applied")
)

// Session is a process of nft, by its files.
type Session struct {
	Stdin   *os.File // commands
	Stderr  *os.File // what it complains of
	Script  *os.File // in memory, shared with the process
	Netlink *os.File // a socket of nf_tables, by which a session learns what a process that was killed has done
	Tail    []byte   // its complaint of the marker
}

// Apply applies the script, as one transaction. Complaint is what `nft -f -` would write to standard error: where ok is
// false it says why nothing was applied, else it has warnings or is empty. What the script lists is lost.
func (s *Session) Apply(script []byte) (complaint []byte, ok bool, err error) {
	if err := s.Script.Truncate(0); err != nil {
		return nil, false, err
	}
	if _, err := s.Script.WriteAt(script, 0); err != nil {
		return nil, false, err
	}
	before, err := s.generation()
	if err != nil {
		return nil, false, errors.Join(ErrNotApplied, err)
	}
	if _, err := s.Stdin.WriteString(include + marker + "\n"); err != nil {
		return nil, false, errors.Join(ErrNotApplied, err)
	}
	said, err := s.read(func(said []byte) bool { return bytes.HasSuffix(said, s.Tail) })
	if err != nil {
		applied, err := s.appliedSince(before, err)
		return nil, applied, err
	}
	said = said[:len(said)-len(s.Tail)]
	return asFromStdin(said), !bytes.Contains(said, []byte("Error: ")), nil
}

// appliedSince tells what a process has done that ended with err. One transaction since is its own, unless another came
// within the same few milliseconds.
func (s *Session) appliedSince(generation uint32, err error) (bool, error) {
	now, generationErr := s.generation()
	switch {
	case generationErr != nil:
		return false, errors.Join(err, generationErr)
	case now == generation:
		return false, errors.Join(ErrNotApplied, err)
	case now == generation+1:
		return true, nil
	default:
		return false, err
	}
}

// Greet learns how the process complains of the marker, and so whether it can be used at all. It sets s.Tail.
func (s *Session) Greet() error {
	if _, err := s.Stdin.WriteString(marker + "\n"); err != nil {
		return err
	}
	said, err := s.read(func(said []byte) bool {
		// A message, the line with the marker, and a line that points at the place.
		_, after, found := bytes.Cut(said, []byte(marker+"\n"))
		return found && bytes.HasSuffix(after, []byte("^\n"))
	})
	s.Tail = said
	return err
}

// read reads until what was said is all.
func (s *Session) read(all func(said []byte) bool) ([]byte, error) {
	var said []byte
	buffer := make([]byte, 4096)
	for !all(said) {
		n, err := s.Stderr.Read(buffer)
		said = append(said, buffer[:n]...)
		if err != nil {
			return said, errors.Join(ErrEnded, err)
		}
	}
	return said, nil
}

// Close closes the files. The process ends when nobody has its standard input any more.
func (s *Session) Close() error {
	return errors.Join(s.Stdin.Close(), s.Stderr.Close(), s.Script.Close(), s.Netlink.Close())
}

func asFromStdin(said []byte) []byte {
	var lines [][]byte
	for line := range bytes.SplitAfterSeq(said, []byte("\n")) {
		if bytes.HasPrefix(line, []byte(inInclude)) {
			continue
		}
		if rest, found := bytes.CutPrefix(line, []byte(inScript)); found {
			line = append([]byte(inStdin), rest...)
		}
		lines = append(lines, line)
	}
	return bytes.Join(lines, nil)
}
