// Command coredns is CoreDNS with the few plugins that the specs configure; their image agnhost carries it
// as /coredns.
package main

import (
	"github.com/coredns/coredns/coremain"

	// The order of the handlers is dnsserver's own, not that of these lines.
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/log"
)

func main() { coremain.Run() }
