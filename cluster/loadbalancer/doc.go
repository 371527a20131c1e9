// Package loadbalancer gives Services of type LoadBalancer an address at once, as
// the service controller of a cloud does: from a pool of addresses that this host
// routes to itself, or the node's own. kube-proxy serves what stands in their
// status; no packet passes through here.
//
// Who holds what follows from the status of the Services alone, so it survives any
// restart. Services of other classes are left to their controllers.
package loadbalancer
