// Command pack appends the binaries in a directory to the executable that will
// carry them, as described in internal/payload/archive.
//
//	pack compress -dir build/payload -cache build/zstd -group engine
//	pack write -dir build/payload -cache build/zstd -program build/boxyard -o bin/boxyard
//
// It compresses with the zstd command, whose higher levels no library in Go
// has. What was compressed before is taken from the cache, by content.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: pack compress|write [flags]")
	}
	flags := flag.NewFlagSet("pack "+args[0], flag.ContinueOnError)
	dir := flags.String("dir", "build/payload", "directory of the binaries")
	cache := flags.String("cache", "build/zstd", "directory of compressed frames")
	level := flags.Int("level", 12, "level of compression")
	group := flags.String("group", "", "compress: the `file` whose frame to make")
	program := flags.String("program", "build/boxyard", "write: the executable without payload")
	out := flags.String("o", "bin/boxyard", "write: the executable with payload")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}

	p := packer{dir: *dir, cache: *cache, level: *level}
	switch args[0] {
	case "compress":
		return p.compressGroup(ctx, *group)
	case "write":
		return p.write(ctx, *program, *out)
	}
	return fmt.Errorf("unknown command %q", args[0])
}
