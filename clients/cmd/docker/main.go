// Command docker is the docker command alone. The executable clients has it
// too, but there buildx, compose, kubectl and helm initialize their packages
// before main, which would add tens of milliseconds to each `docker run`.
package main

import (
	"os"

	"github.com/boxyard/boxyard/clients/docker"
	_ "github.com/boxyard/boxyard/clients/internal/quickstart"
)

func main() { os.Exit(docker.Main()) }
