// Package process runs one child process per part of the machine so that it
// outlives us: in a session of its own, with its own log file, recorded in the
// state directory and adopted from there through a pidfd. It also rotates the log
// file, places the child in a cgroup and stops it.
//
// It knows nothing of what the children do. It may import config, atomicfile and
// supervisor, nothing else of Boxyard.
package process
