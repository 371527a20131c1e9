// Package cgroup makes and removes the one cgroup that holds every container
// and pod of an instance: a slice where systemd runs, else a directory in every
// hierarchy. What is inside belongs to containerd, dockerd and the kubelet.
package cgroup
