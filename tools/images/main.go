// Command images makes images.tar, an OCI image layout with the two images that
// come with Boxyard: pause, which holds a pod's namespaces, and base, a shell
// with the usual small tools. The same input gives the same bytes.
//
//	images -pause build/pause -pause-version 1.0 -created 2026-11-01T00:00:00Z -o build/payload/images.tar
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/boxyard/boxyard/internal/busybox"
	"github.com/boxyard/boxyard/internal/ociarchive"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	var (
		pause    = flags.String("pause", "build/pause", "the pause program")
		version  = flags.String("pause-version", "", "the tag of the pause image")
		program  = flags.String("busybox", "/bin/busybox", "Debian's static busybox")
		certs    = flags.String("certificates", "/etc/ssl/certs/ca-certificates.crt", "the CA certificates")
		created  = flags.String("created", "", "the time that the images bear, as RFC 3339")
		out      = flags.String("o", "", "the archive to write")
		platform = flags.String("arch", "amd64", "the architecture of the programs")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	when, err := time.Parse(time.RFC3339, *created)
	if err != nil {
		return fmt.Errorf("-created: %w", err)
	}

	pauseTree, err := pauseFiles(*pause)
	if err != nil {
		return err
	}
	baseTree, err := busybox.Files(ctx, *program, *certs)
	if err != nil {
		return err
	}
	archive := ociarchive.New(*platform, when)
	for _, image := range []struct {
		name    string
		config  ocispec.ImageConfig
		entries []ociarchive.Entry
	}{
		{"docker.io/boxyard/pause:" + *version, pauseConfig(), pauseTree},
		{"docker.io/boxyard/base:latest", baseConfig(), baseTree},
	} {
		layer, err := archive.Layer(image.entries)
		if err != nil {
			return fmt.Errorf("%s: %w", image.name, err)
		}
		if err := archive.Add(image.name, image.config, layer); err != nil {
			return fmt.Errorf("%s: %w", image.name, err)
		}
	}
	return archive.WriteFile(*out)
}
