// Package names writes the file of names under docker.internal, which both DNS
// servers answer from: the host, and the Docker containers that pods reach. It
// follows dockerd's events; while dockerd is away, the names stay.
//
// It imports no other component.
package names
