// Command boxyard is the whole of Boxyard: the commands, the daemon, and the
// names docker, kubectl and helm when it is called by them.
package main

import (
	"os"

	"github.com/boxyard/boxyard/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args, cli.System())) }
