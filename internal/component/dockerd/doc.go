// Package dockerd runs Docker's Engine on the containerd that Kubernetes uses
// too: its daemon.json and arguments, its sockets, readiness, and the two ways
// to stop it (containers go on, or they stop with it). Builders of files are
// pure functions. It imports no other component.
package dockerd
