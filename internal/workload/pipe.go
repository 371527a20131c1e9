package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What a container may write while nobody reads its output: 40 s of 100 KiB/s. A pipe takes memory only for
// what is in it.
const pipeBytes = 4 << 20

// WidenPipes gives every FIFO beneath dir, through which a shim hands a container's output to dockerd or
// to containerd, a buffer that holds until that reader is back. With the kernel's 64 KiB a
// container that logs blocks in write(2) soon after its reader has died, and stops serving.
//
// A FIFO of input is not touched: until the shim opens it to read, whoever opens it in its stead and closes it again
// has what dockerd writes lost.
//
// Without CAP_SYS_RESOURCE the buffer is limited by the sysctl fs.pipe-max-size, 1 MiB by default; it is
// raised then.
func WidenPipes(dir string) error {
	limit := pipeBytes
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeNamedPipe || !isOutput(d.Name()) {
			return nil // containers come and go while we look
		}
		err = widen(path, limit)
		if errors.Is(err, unix.EPERM) {
			limit, err = raisePipeMax(limit)
			if err != nil {
				return err
			}
			err = widen(path, limit)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("widen %s: %w", path, err)
		}
		return nil
	})
}

// isOutput says whether a FIFO is one of output, by the name that containerd's package cio and dockerd give it.
func isOutput(name string) bool {
	return strings.HasSuffix(name, "-stdout") || strings.HasSuffix(name, "-stderr")
}

// widen opens without blocking and reads nothing. A shim that waits for a reader of its output goes on then, and has
// the FIFO open to read, too, before it writes, so that nothing is lost.
func widen(path string, size int) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	have, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	if err != nil || have >= size {
		return err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size)
	return err
}

// raisePipeMax gives the largest size that there is afterwards, at most want.
func raisePipeMax(want int) (int, error) {
	const sysctl = "/proc/sys/fs/pipe-max-size"
	if os.WriteFile(sysctl, []byte(strconv.Itoa(want)), 0o644) == nil {
		return want, nil
	}
	data, err := os.ReadFile(sysctl)
	if err != nil {
		return 0, fmt.Errorf("read the largest size of a pipe: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("read the largest size of a pipe: %w", err)
	}
	return n, nil
}
