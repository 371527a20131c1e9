package dns

import (
	"fmt"
	"strings"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

// hostsZone has the names of the host and of Docker's containers.
const hostsZone = "docker.internal"

// directives are the plugins that we use, in the order in which they see a query
// (the order of CoreDNS' plugin.cfg). Ours stands where kubernetes would.
func directives() []string {
	return []string{"bind", "errors", "loadbalance", "cache", "hosts", directive, "forward"}
}

// corefile has kubeadm's semantics: the same zones, TTLs and pod records, no caching of the cluster's names,
// which come from memory anyway. Without upstreams, names outside the cluster fail at once (SERVFAIL).
func corefile(c config.DNS, upstreams []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".:%d {\n", c.Port)
	fmt.Fprintf(&b, "    bind %s\n", strings.Join(c.Listen, " "))
	b.WriteString("    errors {\n        consolidate 1m \".*\"\n    }\n")
	// The daemon writes the file anew when a container comes or goes.
	fmt.Fprintf(&b, "    hosts %s %s {\n        no_reverse\n        ttl 5\n        reload 1s\n    }\n", c.HostsFile, hostsZone)
	fmt.Fprintf(&b, "    %s %s in-addr.arpa ip6.arpa {\n", directive, c.ClusterDomain)
	fmt.Fprintf(&b, "        kubeconfig %s\n", c.Kubeconfig)
	b.WriteString("        pods insecure\n")
	b.WriteString("        fallthrough in-addr.arpa ip6.arpa\n")
	b.WriteString("        ttl 30\n")
	b.WriteString("    }\n")
	if len(upstreams) > 0 {
		fmt.Fprintf(&b, "    forward . %s {\n        max_concurrent 1000\n    }\n", strings.Join(upstreams, " "))
	}
	b.WriteString("    cache 30 {\n")
	fmt.Fprintf(&b, "        disable success %s %s\n", c.ClusterDomain, hostsZone)
	fmt.Fprintf(&b, "        disable denial %s %s\n", c.ClusterDomain, hostsZone)
	// Old answers only where the host's resolvers do not give a new one.
	b.WriteString("        serve_stale 1h verify\n")
	b.WriteString("    }\n")
	b.WriteString("    loadbalance\n")
	b.WriteString("}\n")
	return b.String()
}
