package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/boxyard/boxyard/test/harness"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	repo, err := harness.Repository()
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	binary := flags.String("boxyard", filepath.Join(repo, "bin", "boxyard"), "the `binary` to demonstrate")
	only := flags.String("only", "", "`part` to run: docker or kubernetes")
	rate := flags.Int("rate", 100, "requests per second to each address during the update")
	noCold := flags.Bool("no-cold", false, "leave out the start times in a confined instance")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *only != "" && *only != "docker" && *only != "kubernetes" {
		return fmt.Errorf("--only %s: want docker or kubernetes", *only)
	}
	if os.Geteuid() != 0 {
		return errors.New("containers need root; try: sudo make demo")
	}
	*binary, err = filepath.Abs(*binary)
	if err != nil {
		return err
	}
	for _, file := range []string{*binary, filepath.Join(repo, "examples/hello/bin/web"), filepath.Join(repo, "examples/hello/bin/store")} {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%w; try: make demo, which builds it first", err)
		}
	}
	results := filepath.Join(repo, "build", "demo")
	if err := os.MkdirAll(results, 0o755); err != nil {
		return err
	}
	s := newScript(ctx, out, repo, *binary)
	d := &demo{script: s, results: results, rate: *rate}
	d.up()
	if *only != "kubernetes" {
		d.docker()
	}
	if *only != "docker" {
		d.kubernetes()
	}
	if !*noCold {
		d.coldStart()
	}
	d.farewell(*only)
	return s.err
}

// demo is the state that steps hand on.
type demo struct {
	*script
	results string // directory for raw results
	rate    int
	times   []timing
}

// up starts the platform, or finds it running.
func (d *demo) up() {
	d.title("Start")
	args := []string{"boxyard", "up"}
	if dir := os.Getenv("BOXYARD_PAYLOAD_DIR"); dir != "" {
		args = append(args, "--payload-dir", dir)
	}
	d.run(args...)
	d.note("up took %v", seconds(d.took))
	d.run("boxyard", "status")
	d.title("Clear away what an earlier demo left")
	d.clean()
}

// clean removes what earlier runs made. There may be nothing.
func (d *demo) clean() {
	for _, args := range [][]string{
		{"kubectl", "delete", "namespace", "hello", "--ignore-not-found", "--timeout=120s"},
		{"docker", "rm", "--force", "--volumes", "demo-web", "demo-store", "demo-once"},
		{"docker", "compose", "--file", "examples/hello/compose.yaml", "down", "--volumes", "--remove-orphans"},
		{"docker", "network", "rm", "--force", "demo"},
		{"docker", "volume", "rm", "--force", "demo-data"},
		{"docker", "image", "rm", "--force", "hello:v0"},
	} {
		if d.err != nil {
			return
		}
		d.command(args)
		if out, err := d.try(args...); err != nil && args[0] == "kubectl" {
			d.fail("%v", err)
		} else {
			d.show(out)
		}
	}
}
