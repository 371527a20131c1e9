// Package readiness asks the cluster and dns processes, over their status
// sockets, whether they are ready and what they wait for. It imports nothing of
// Boxyard.
package readiness
