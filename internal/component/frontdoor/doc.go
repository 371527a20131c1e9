// Package frontdoor is a small HTTP proxy on one loopback port that knows every
// Service and every Docker container by its name under .localhost, which browsers
// and curl take to loopback by themselves: http://NAME.NAMESPACE.localhost and
// http://NAME.docker.localhost.
//
// It owns the port, the names and what is said where a request cannot be
// delivered. Which Services and containers there are it has from the packages
// service and container; what balances between pods is kube-proxy, as for anybody
// else on this host. docs/adr/0018 has the reasons.
package frontdoor
