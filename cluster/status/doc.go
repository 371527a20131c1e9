// Package status tells the daemon, over a unix socket, which parts of this
// process are ready and what the rest wait for. It knows nothing of Kubernetes.
package status
