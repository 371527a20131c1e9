package payload_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/boxyard/boxyard/internal/payload/archive"
	"github.com/klauspost/compress/zstd"
)

// content is a small set: two frames, one with two files, one of them filtered.
type content struct {
	engine, runc, bridge []byte
	versions             map[string]string
}

func testContent() content {
	return content{
		engine:   bytes.Repeat([]byte{0xe8, 1, 2, 0, 0, 0x90, 0x48, 0x8d, 0x05, 9, 9, 9, 9}, 50_000),
		runc:     bytes.Repeat([]byte("runc"), 1000),
		bridge:   []byte("bridge"),
		versions: map[string]string{"runc": "1.5.2"},
	}
}

// pack writes an executable with c behind it and returns its path and its size without payload.
func pack(t *testing.T, c content) (exe string, program int) {
	t.Helper()
	// A true ELF file: where a program ends is told from its headers.
	out, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program = len(out)

	filtered := bytes.Clone(c.engine)
	archive.EncodeBranches(filtered[13 : len(filtered)-13])
	m := archive.Manifest{
		Program:  archive.Program{Size: int64(program), SHA256: hash(out)},
		Versions: c.versions,
		Files: []archive.File{
			{
				Name: "engine", Mode: 0o755, Size: int64(len(c.engine)), SHA256: hash(c.engine), Frame: 0,
				Branches: &archive.Span{Offset: 13, Length: int64(len(c.engine) - 26)},
			},
			{Name: "cni/bridge", Mode: 0o755, Size: int64(len(c.bridge)), SHA256: hash(c.bridge), Frame: 1},
			{Name: "runc", Mode: 0o644, Size: int64(len(c.runc)), SHA256: hash(c.runc), Frame: 1, Offset: int64(len(c.bridge))},
		},
		Links: []archive.Link{{Name: "cli-plugins/dockerd", Target: "../engine"}, {Name: "dockerd", Target: "engine"}},
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	offset := int64(0)
	for _, data := range [][]byte{filtered, append(bytes.Clone(c.bridge), c.runc...)} {
		packed := encoder.EncodeAll(data, nil)
		m.Frames = append(m.Frames, archive.Frame{Offset: offset, Length: int64(len(packed)), Size: int64(len(data)), SHA256: hash(packed)})
		offset += int64(len(packed))
		out = append(out, packed...)
	}
	buf := bytes.NewBuffer(out)
	if err := archive.WriteEnd(buf, m); err != nil {
		t.Fatal(err)
	}
	exe = filepath.Join(t.TempDir(), "boxyard")
	if err := os.WriteFile(exe, buf.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return exe, program
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
