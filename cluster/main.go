// Command cluster is the cluster process and, called as dns or with the argument dns, the dns process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/klog/v2"

	"github.com/boxyard/boxyard/cluster/dns"
	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
		klog.Flush()
		fmt.Fprintln(os.Stderr, "error:", err)
		stop()
		os.Exit(1)
	}
}

// run starts the program that the binary was called as: cluster, dns, or "cluster dns".
func run(ctx context.Context, name string, args []string) error {
	if name != "dns" && len(args) > 0 && args[0] == "dns" {
		name, args = "dns", args[1:]
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	file := flags.String("config", "", "the configuration `file`, JSON")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *file == "" || flags.NArg() > 0 {
		return errors.New("usage: " + name + " --config FILE")
	}
	if name == "dns" {
		c, err := config.LoadDNS(*file)
		if err != nil {
			return err
		}
		return dns.Run(ctx, c)
	}
	c, err := config.LoadCluster(*file)
	if err != nil {
		return err
	}
	return server.Run(ctx, c)
}
