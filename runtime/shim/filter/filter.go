// Package filter keeps the seccomp filters that runc's library compiles, so that each is compiled once.
//
// The first process of a container compiles its filter from its rules, some 400 of Docker's or Kubernetes' default for
// three architectures, which takes a tenth of the time in which a container starts. What comes out depends on the
// rules and on libseccomp alone. So the shim compiles the rules of a container that it sees for the first time once
// more, for the next one, and gives that the program in a file: rules that are added are then passed over, and the
// program is what libseccomp would have made. All else is runc's still: what it adds to the program, when it loads it
// and with which flags.
//
// runc has no place to hand it a compiled filter. This package stands between runc and libseccomp instead, by the
// linker's option --wrap (wrap.c). In a program that is linked without it, as tests may be, no filter is kept.
package filter

/*
#cgo pkg-config: libseccomp
#include "wrap.h"
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/seccomp"
	"golang.org/x/sys/unix"
)

// magic begins a file with a filter. The number is that of the format.
const magic = "boxyard seccomp filter 1\n"

// An instruction has eight bytes, and the kernel takes 4096 of them (linux/filter.h, BPF_MAXINSNS).
const instruction, maxInstructions = 8, 4096

// given is the descriptor of a file that is passed to runc's init: libcontainer.Process.ExtraFiles begins there.
const given = 3

// Wrapped says whether this program is linked so that filters can be kept.
func Wrapped() bool { return C.filter_wrapped() != 0 }

// TakeGiven makes the filter that this process was started with, if there is one, that of the container. Runc's init
// calls it before anything else. The file is closed when the container's own program begins.
func TakeGiven() error {
	var stat unix.Stat_t
	if !Wrapped() || unix.Fstat(given, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil // a socket of runc's
	}
	content := make([]byte, len(magic)+instruction*maxInstructions+1)
	n, err := unix.Pread(given, content, 0)
	if err != nil {
		return fmt.Errorf("read the seccomp filter: %w", err)
	}
	program, ok := bytes.CutPrefix(content[:n], []byte(magic))
	if !ok {
		return nil // another file
	}
	if err := check(program); err != nil {
		return err
	}
	unix.CloseOnExec(given)
	C.filter_give(C.CBytes(program), C.size_t(len(program)))
	return nil
}

// check refuses what is no whole program.
func check(program []byte) error {
	if len(program) == 0 || len(program)%instruction != 0 || len(program) > instruction*maxInstructions {
		return fmt.Errorf("a seccomp filter of %d bytes is none", len(program))
	}
	return nil
}

// compiling guards the one place that a filter is captured at.
var compiling sync.Mutex //nolint:gochecknoglobals // libseccomp is wrapped once for the process

// compile gives the program that runc would load for these rules. It loads nothing.
func compile(rules *configs.Seccomp) ([]byte, error) {
	if !Wrapped() {
		return nil, errors.ErrUnsupported
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	type result struct {
		program []byte
		err     error
	}
	done := make(chan result, 1)
	go func() {
		program, err := io.ReadAll(read)
		done <- result{program, err}
	}()
	compiling.Lock()
	C.filter_capture(C.int(write.Fd()))
	_, failed := seccomp.InitSeccomp(rules)
	C.filter_capture(-1)
	compiling.Unlock()
	_ = write.Close()
	r := <-done
	if r.err != nil {
		return nil, r.err
	}
	// A filter that was captured has failed with ECANCELED; rules that cannot be compiled leave nothing.
	if err := check(r.program); err != nil {
		return nil, errors.Join(err, failed)
	}
	return r.program, nil
}
