package main

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/boxyard/boxyard/internal/payload/archive"
)

// groups are the frames: files that share code, in the order in which each finds
// the most of it within zstd's window. A file that is in none is in the last, with the rest.
func groups() [][]string {
	return [][]string{{"docker", "clients", "cluster"}, nil}
}

// groupOf is the index of the group of a file.
func groupOf(name string) int {
	all := groups()
	for i, g := range all {
		if slices.Contains(g, name) {
			return i
		}
	}
	return len(all) - 1
}

// scan lists the files and links below dir, by name. Files come with name and mode only.
func scan(dir string) (files []archive.File, links []archive.Link, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch entry.Type() {
		case 0:
			info, err := entry.Info()
			if err != nil {
				return err
			}
			files = append(files, archive.File{Name: name, Mode: mode(info.Mode())})
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			links = append(links, archive.Link{Name: name, Target: target})
		default:
			return fmt.Errorf("%s is neither a file nor a link", path)
		}
		return nil
	})
	slices.SortFunc(files, func(a, b archive.File) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(links, func(a, b archive.Link) int { return cmp.Compare(a.Name, b.Name) })
	return files, links, err
}

// mode is 0755 or 0644: the builder's umask shall not be in the result.
func mode(m fs.FileMode) uint32 {
	if m&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// machineCode is where an x86-64 program has its code; nil for any other file.
func machineCode(data []byte) *archive.Span {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil || f.Machine != elf.EM_X86_64 {
		return nil
	}
	text := f.Section(".text")
	if text == nil || text.Type != elf.SHT_PROGBITS {
		return nil
	}
	return &archive.Span{Offset: int64(text.Offset), Length: int64(text.Size)}
}
