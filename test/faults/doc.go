// Package faults does to a confined platform what the world does to a machine,
// and expects it to keep its promises. It kills each part with -9 and keeps it
// away for 10 s, then all of them at once, while requests come in: none fails. It
// kills the cluster process 50 times while objects are written, and fills the
// disks under etcd, containerd and the logs: nothing that was acknowledged is
// lost, and all recovers. It kills dockerd and containerd while Docker's clients
// build, pull, push, copy and start (ROUNDS times each, 20 by default), and
// counts what they have left. It asks with 500 clients, and puts 10,000 objects into
// one namespace. It needs root and the build tag faults:
//
//	sudo make test-faults
package faults
