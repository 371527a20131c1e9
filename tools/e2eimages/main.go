// Command e2eimages makes one OCI archive with the images that upstream's end-to-end specs use: upstream's own
// programs, built from its module, on files and Debian packages in place of the base images that its
// Dockerfiles pull. Which images there are, and their tags, is what e2e.test itself says.
//
//	e2eimages -images list.txt -programs build/e2e/bin -roots build/e2e -source DIRECTORY -o build/e2e/images.tar
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/boxyard/boxyard/internal/busybox"
	"github.com/boxyard/boxyard/internal/ociarchive"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "e2eimages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("e2eimages", flag.ContinueOnError)
	var (
		list     = flags.String("images", "", "the output of e2e.test --list-images")
		programs = flags.String("programs", "", "the directory of upstream's programs, and pause")
		roots    = flags.String("roots", "", "the directory of shell.tar, tools.tar and nginx.tar, files of Debian packages")
		source   = flags.String("source", "", "the directory of the module k8s.io/kubernetes")
		shell    = flags.String("busybox", "/bin/busybox", "Debian's static busybox")
		certs    = flags.String("certificates", "/etc/ssl/certs/ca-certificates.crt", "the CA certificates")
		created  = flags.String("created", "", "the time that the images bear, as RFC 3339")
		arch     = flags.String("arch", "amd64", "the architecture of the programs")
		out      = flags.String("o", "", "the archive to write")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	when, err := time.Parse(time.RFC3339, *created)
	if err != nil {
		return fmt.Errorf("-created: %w", err)
	}
	names, err := os.ReadFile(*list)
	if err != nil {
		return err
	}
	small, err := busybox.Files(ctx, *shell, *certs)
	if err != nil {
		return err
	}

	archive := ociarchive.New(*arch, when)
	recipes, err := (&kitchen{archive: archive, programs: *programs, roots: *roots, source: *source}).recipes(small)
	if err != nil {
		return err
	}
	if err := addAll(archive, recipes, strings.Fields(string(names))); err != nil {
		return err
	}
	return archive.WriteFile(*out)
}

// addAll adds those of the names that there is a recipe for. A recipe that no name wants is an error: upstream
// has renamed something.
func addAll(archive *ociarchive.Archive, recipes map[string]recipe, names []string) error {
	made := map[string]bool{}
	for _, name := range names {
		short := repository(name)
		r, ok := recipes[short]
		if !ok {
			continue
		}
		if err := archive.Add(name, r.config, r.layers...); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		made[short] = true
	}
	for short := range recipes {
		if !made[short] {
			return fmt.Errorf("no spec wants an image %q any more", short)
		}
	}
	return nil
}

// repository is the last part of an image's name, without its tag.
func repository(name string) string {
	name = name[strings.LastIndex(name, "/")+1:]
	short, _, _ := strings.Cut(name, ":")
	return short
}
