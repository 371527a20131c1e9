package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
)

// Manifest says what a payload has and where. Offsets of frames count from the
// end of the program, offsets in a frame from its start when unpacked.
type Manifest struct {
	Program  Program           `json:"program"`
	Versions map[string]string `json:"versions"`
	Frames   []Frame           `json:"frames"`
	Files    []File            `json:"files"`
	Links    []Link            `json:"links"`
}

// Program is the executable before the payload.
type Program struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Frame is a zstd frame.
type Frame struct {
	Offset int64  `json:"offset"`
	Length int64  `json:"length"` // compressed
	Size   int64  `json:"size"`   // unpacked
	SHA256 string `json:"sha256"` // of the compressed bytes
}

// File is a regular file.
type File struct {
	Name   string `json:"name"` // relative, with slashes
	Mode   uint32 `json:"mode"` // permission bits
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Frame  int    `json:"frame"`
	Offset int64  `json:"offset"`
	// Branches is the machine code of an x86-64 program, filtered by EncodeBranches.
	Branches *Span `json:"branches,omitempty"`
}

// Span is a part of a file.
type Span struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Link is a symbolic link.
type Link struct {
	Name   string `json:"name"`
	Target string `json:"target"`
}

// ID names the content: two payloads with the same files, links and versions
// have the same ID, however they are compressed and whichever program they follow.
func (m Manifest) ID() string {
	type content struct {
		Name, Hash string
		Mode       uint32
	}
	files := make([]content, 0, len(m.Files))
	for _, f := range m.Files {
		files = append(files, content{f.Name, f.SHA256, f.Mode})
	}
	// Marshal orders the keys of maps and cannot fail on these types.
	data, _ := json.Marshal([]any{files, m.Links, m.Versions})
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// validate refuses a manifest that leads outside of the payload or of the directory that it is unpacked to.
// size is that of all frames.
func (m Manifest) validate(size int64) error {
	end := int64(0)
	for i, f := range m.Frames {
		if f.Offset != end || f.Length <= 0 || f.Size < 0 {
			return fmt.Errorf("frame %d: bad place or size", i)
		}
		end += f.Length
	}
	if end != size {
		return fmt.Errorf("frames have %d bytes, want %d", size, end)
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("file %q: name leads outside", f.Name)
		}
		if f.Frame < 0 || f.Frame >= len(m.Frames) {
			return fmt.Errorf("file %q: no frame %d", f.Name, f.Frame)
		}
		if !within(Span{f.Offset, f.Size}, m.Frames[f.Frame].Size) {
			return fmt.Errorf("file %q: outside of its frame", f.Name)
		}
		if f.Branches != nil && !within(*f.Branches, f.Size) {
			return fmt.Errorf("file %q: branches outside of the file", f.Name)
		}
	}
	for _, l := range m.Links {
		if !filepath.IsLocal(l.Name) || !filepath.IsLocal(filepath.Join(filepath.Dir(l.Name), l.Target)) {
			return fmt.Errorf("link %q to %q: leads outside", l.Name, l.Target)
		}
	}
	return nil
}

func within(s Span, size int64) bool {
	return s.Offset >= 0 && s.Length >= 0 && s.Offset <= size && s.Length <= size-s.Offset
}
