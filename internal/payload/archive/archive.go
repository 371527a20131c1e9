package archive

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrNone says that nothing is appended to a program.
var ErrNone = errors.New("no payload is appended to this file")

// magic ends a packed file; the digit is the version of the format.
const magic = "boxyard payload1"

// footer is the last part of a packed file: hash and length of the manifest, and magic.
const footerSize = sha256.Size + 8 + len(magic)

// A manifest has some kilobytes. A greater length comes from a torn footer.
const maxManifest = 1 << 20

// Read reads footer and manifest of a packed file of size bytes. It returns
// ErrNone for a program with nothing appended; any other error means a torn or altered file.
func Read(r io.ReaderAt, size int64) (Manifest, error) {
	footer := make([]byte, footerSize)
	if size < int64(footerSize) {
		return Manifest{}, missing(r, size)
	}
	if _, err := r.ReadAt(footer, size-int64(footerSize)); err != nil {
		return Manifest{}, fmt.Errorf("read footer: %w", err)
	}
	if !bytes.HasSuffix(footer, []byte(magic)) {
		return Manifest{}, missing(r, size)
	}
	length := int64(binary.BigEndian.Uint64(footer[sha256.Size:]))
	end := size - int64(footerSize)
	if length < 0 || length > maxManifest || length > end {
		return Manifest{}, fmt.Errorf("manifest of %d bytes in a file of %d", length, size)
	}
	data := make([]byte, length)
	if _, err := r.ReadAt(data, end-length); err != nil {
		return Manifest{}, fmt.Errorf("read manifest: %w", err)
	}
	if sum := sha256.Sum256(data); !bytes.Equal(sum[:], footer[:sha256.Size]) {
		return Manifest{}, errors.New("the manifest's checksum is wrong")
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return Manifest{}, fmt.Errorf("decode manifest: %w", err)
	}
	if err := m.validate(end - length - m.Program.Size); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// missing tells a program without payload from a packed file that has lost its end:
// a program ends where its ELF headers say.
func missing(r io.ReaderAt, size int64) error {
	end, err := programSize(r)
	if err == nil && size != end {
		return fmt.Errorf("the file has %d bytes after the program but does not end as a payload does", size-end)
	}
	return ErrNone
}

// programSize is the size of the ELF file at the start of r.
func programSize(r io.ReaderAt) (int64, error) {
	f, err := elf.NewFile(r)
	if err != nil {
		return 0, err
	}
	var header elf.Header64
	if err := binary.Read(io.NewSectionReader(r, 0, int64(binary.Size(header))), f.ByteOrder, &header); err != nil {
		return 0, err
	}
	end := int64(header.Shoff) + int64(header.Shnum)*int64(header.Shentsize)
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS {
			end = max(end, int64(s.Offset+s.FileSize))
		}
	}
	return end, nil
}

// WriteEnd writes manifest and footer, after the program and the frames.
func WriteEnd(w io.Writer, m Manifest) error {
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	sum := sha256.Sum256(data)
	footer := append(sum[:], binary.BigEndian.AppendUint64(nil, uint64(len(data)))...)
	footer = append(footer, magic...)
	if _, err := w.Write(append(data, footer...)); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}
