// Package workload ends what runs in containers and clears away what a hard end
// leaves behind: pods through CRI, tasks through containerd, shims and processes
// that nobody answers for any more, mounts, network namespaces and cgroups. Used
// by `down` and `reset`. It knows nothing of components, and it acts only beneath
// the sockets, directories and cgroups that it is told.
package workload
