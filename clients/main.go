package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/clients/docker"
	_ "github.com/boxyard/boxyard/clients/internal/messages"
	_ "github.com/boxyard/boxyard/clients/internal/quickstart"
	"github.com/boxyard/boxyard/clients/kube"
	"github.com/boxyard/boxyard/clients/plugin"
)

func main() { os.Exit(run(os.Args)) }

// run is the client that args name. Upstream's command trees read os.Args, so
// they are given them as if the client had been called by its own name.
func run(args []string) int {
	clients := map[string]func() int{
		"docker":         docker.Main,
		"docker-buildx":  plugin.Buildx,
		"buildx":         plugin.Buildx,
		"docker-compose": plugin.Compose,
		"compose":        plugin.Compose,
		"kubectl":        kube.Kubectl,
		"helm":           kube.Helm,
	}
	if client, ok := clients[filepath.Base(args[0])]; ok {
		return client()
	}
	if len(args) > 1 {
		if client, ok := clients[args[1]]; ok {
			os.Args = args[1:]
			return client()
		}
	}
	names := slices.Sorted(maps.Keys(clients))
	fmt.Fprintf(os.Stderr, "usage: %s CLIENT [ARG...]\nclients: %s\n", filepath.Base(args[0]), strings.Join(names, ", "))
	return 2
}
