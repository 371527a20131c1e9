// Command engine is dockerd, containerd and the registry in one binary. Which of
// them it is comes from the name it is called by (the payload has links of these
// names), or from the first argument: `engine dockerd --version`. What it does is
// upstream's; this file only repeats the main functions of the first two.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
	containerd "github.com/containerd/containerd/v2/cmd/containerd/command"
	dockerd "github.com/moby/moby/v2/daemon/command"
	"github.com/moby/sys/reexec"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/boxyard/boxyard/engine/registry"
)

func main() {
	// runc's hook for a container's network namespace is this binary under the name
	// libnetwork-setkey (moby daemon/libnetwork/sandbox_externalkey_unix.go): it comes before all else.
	if reexec.Init() {
		return
	}
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name, args := tool(args)
	isolateMetrics()
	switch name {
	case "dockerd":
		return exit(stderr, "", runDockerd(ctx, args, stdout, stderr))
	case "containerd":
		return exit(stderr, "containerd: ", containerd.App().Run(ctx, args))
	case "registry":
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return exit(stderr, "registry: ", registry.Run(ctx, args, stderr))
	}
	fmt.Fprintln(stderr, "usage: dockerd ... | containerd ... | registry --config FILE (or: engine dockerd ...)")
	return 2
}

// tool says which program is asked for, and gives the arguments that this program expects,
// its name first.
func tool(args []string) (string, []string) {
	if len(args) == 0 {
		return "", nil
	}
	switch name := filepath.Base(args[0]); name {
	case "dockerd", "containerd", "registry":
		return name, args
	}
	if len(args) == 1 {
		return "", args
	}
	return args[1], args[1:]
}

// runDockerd is moby's cmd/dockerd/main_linux.go. Its command reads os.Args, which is why they are set.
func runDockerd(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	os.Args = args
	// systemd's journal may be restarted while dockerd is not (moby/moby#19728).
	signal.Ignore(syscall.SIGPIPE)
	r, err := dockerd.NewDaemonRunner(stdout, stderr)
	if err != nil {
		return err
	}
	return r.Run(ctx)
}

// isolateMetrics gives the chosen program an empty metrics registry: the packages of both
// have registered theirs while they were initialised, and one of dockerd's names is also one of
// containerd's, which panics at the second registration.
func isolateMetrics() {
	registry := prometheus.NewRegistry()
	prometheus.DefaultRegisterer = registry
	prometheus.DefaultGatherer = registry
}

func exit(stderr io.Writer, prefix string, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "%s%v\n", prefix, err)
	return 1
}
