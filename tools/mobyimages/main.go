// Command mobyimages makes the images that moby's own integration tests expect to find: stand-ins from files and
// Debian packages, under the names of those that upstream pulls. It writes one OCI archive for each architecture.
//
//	mobyimages -hello build/moby/hello -debian build/moby/debian.tar -created 2026-11-01T00:00:00Z -o build/moby
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/boxyard/boxyard/internal/busybox"
	"github.com/boxyard/boxyard/internal/ociarchive"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mobyimages:", err)
		os.Exit(1)
	}
}

// image is one stand-in. Programs of other architectures than this machine's are never run.
type image struct {
	arch, name string
	config     ocispec.ImageConfig
	layers     []ociarchive.Layer
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("mobyimages", flag.ContinueOnError)
	var (
		hello   = flags.String("hello", "", "the program of hello-world")
		debian  = flags.String("debian", "", "a tar archive of Debian packages")
		shell   = flags.String("busybox", "/bin/busybox", "Debian's static busybox")
		certs   = flags.String("certificates", "/etc/ssl/certs/ca-certificates.crt", "the CA certificates")
		created = flags.String("created", "", "the time that the images bear, as RFC 3339")
		out     = flags.String("o", "", "the directory for the archives")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	when, err := time.Parse(time.RFC3339, *created)
	if err != nil {
		return fmt.Errorf("-created: %w", err)
	}
	images, err := images(ctx, *hello, *debian, *shell, *certs)
	if err != nil {
		return err
	}
	archives := map[string]*ociarchive.Archive{}
	for _, i := range images {
		if archives[i.arch] == nil {
			archives[i.arch] = ociarchive.New(i.arch, when)
		}
		if err := archives[i.arch].Add("docker.io/"+i.name, i.config, i.layers...); err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
	}
	for arch, archive := range archives {
		if err := archive.WriteFile(filepath.Join(*out, "images-"+arch+".tar")); err != nil {
			return err
		}
	}
	return nil
}

func images(ctx context.Context, hello, debian, shell, certificates string) ([]image, error) {
	files, err := busybox.Files(ctx, shell, certificates)
	if err != nil {
		return nil, err
	}
	var packer ociarchive.Archive
	small, err := packer.Layer(asUpstream(files))
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(hello)
	if err != nil {
		return nil, err
	}
	greeting, err := packer.Layer([]ociarchive.Entry{{Name: "hello", Mode: 0o755, Content: program}})
	if err != nil {
		return nil, err
	}
	packages, err := os.ReadFile(debian)
	if err != nil {
		return nil, err
	}
	// What the tests install is there already.
	installer, err := packer.Layer([]ociarchive.Entry{
		{Name: "usr/bin/apt-get", Mode: 0o755, Content: []byte("#!/bin/sh\nexit 0\n")},
		{Name: "bin/sh", Link: "dash"},
	})
	if err != nil {
		return nil, err
	}
	config := func(command string) ocispec.ImageConfig {
		return ocispec.ImageConfig{Cmd: []string{command}, Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	}
	return []image{
		{"amd64", "library/busybox:latest", config("sh"), []ociarchive.Layer{small}},
		{"amd64", "library/busybox:glibc", config("sh"), []ociarchive.Layer{small}},
		{"amd64", "library/debian:trixie-slim", config("bash"), []ociarchive.Layer{small, packages, installer}},
		{"amd64", "library/hello-world:frozen", config("/hello"), []ociarchive.Layer{greeting}},
		{"amd64", "library/hello-world:amd64", config("/hello"), []ociarchive.Layer{greeting}},
		{"arm64", "library/hello-world:arm64", config("/hello"), []ociarchive.Layer{greeting}},
		{"arm", "arm32v7/hello-world:latest", config("/hello"), []ociarchive.Layer{greeting}},
	}, nil
}
