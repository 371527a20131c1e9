package payload

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/boxyard/boxyard/internal/payload/archive"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

const (
	// writeSize is how much of a file is hashed and written at a time: it stays in the CPU's cache.
	writeSize = 1 << 20
	// window is the greatest that frames are compressed with (zstd --long=28). It costs no memory: a frame is
	// decoded in one piece, into its place.
	window = 1 << 28
	// slack behind the output lets the decoder write whole blocks without looking at the end.
	slack = 1 << 18
)

// readFrame returns the content of a frame, in memory of its own that free gives
// back to the system at once: the daemon's heap must not remember the first start.
func (p *Payload) readFrame(ctx context.Context, exe io.ReaderAt, f archive.Frame) (content []byte, free func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	packed, freePacked, err := allocate(f.Length)
	if err != nil {
		return nil, nil, err
	}
	defer freePacked()
	if _, err := exe.ReadAt(packed, p.manifest.Program.Size+f.Offset); err != nil {
		return nil, nil, corrupt(p.exe, fmt.Errorf("read frame: %w", err))
	}
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != f.SHA256 {
		return nil, nil, corrupt(p.exe, errors.New("a frame's checksum is wrong"))
	}

	content, free, err = allocate(f.Size + slack)
	if err != nil {
		return nil, nil, err
	}
	unpacked, err := decode(packed, content)
	if err == nil && int64(len(unpacked)) != f.Size {
		err = fmt.Errorf("frame has %d bytes, want %d", len(unpacked), f.Size)
	}
	if err != nil {
		free()
		return nil, nil, corrupt(p.exe, err)
	}
	return unpacked, free, nil
}

// decode unpacks a frame into out.
func decode(packed, out []byte) ([]byte, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	return decoder.DecodeAll(packed, out[:0])
}

// allocate returns memory from the system. free must be called once.
func allocate(size int64) (memory []byte, free func(), err error) {
	memory, err = unix.Mmap(-1, 0, int(max(size, 1)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	return memory[:size], func() { _ = unix.Munmap(memory) }, nil
}
