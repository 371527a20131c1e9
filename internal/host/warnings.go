package host

import (
	"fmt"
	"slices"

	"github.com/boxyard/boxyard/internal/config"
)

// Warnings are sentences about the host that keep nothing from running but that
// people should know. own are the pids of our parts that run.
func Warnings(f Facts, c config.Config, own ...int) []string {
	var found []string
	for _, p := range f.Engines {
		if slices.Contains(own, p.PID) {
			continue
		}
		what := "another Kubernetes"
		if p.Name == "dockerd" {
			what = "another Docker engine"
		}
		found = append(found, fmt.Sprintf("%s runs on this machine (%s, pid %d); it keeps its socket, its networks and its images", what, p.Name, p.PID))
	}
	for _, r := range usedRanges(f, c) {
		i := slices.IndexFunc(f.Routes, func(route Route) bool {
			return route.Dst.Overlaps(r.prefix) && !route.within(r.prefix) && route.foreign(c.Network)
		})
		if i >= 0 {
			found = append(found, fmt.Sprintf("%s %s hides a part of a network that this host reaches: %s", r.key, r.prefix, f.Routes[i]))
		}
	}
	if slices.Contains(f.LegacyTables, "filter") {
		found = append(found, "rules of the old iptables (iptables-legacy) are in force; where they drop what is forwarded, accept "+
			c.Network.Bridge+" and "+c.Network.DockerBridge+" there")
	}
	return found
}
