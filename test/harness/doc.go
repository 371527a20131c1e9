// Package harness runs the packed boxyard binary confined: in a network and a
// mount namespace of its own, with private state directories and a cgroup root
// of its own, so that tests pass beside a running Boxyard and leave nothing
// behind. It talks to Boxyard only as a user does, by its command line and its
// sockets, and imports nothing of it.
//
// What an instance writes to /etc, /root, /opt, /usr/local and /var/lib lands in
// the upper directories of overlays and is thrown away with it; /run, /var/log,
// /var/lib/boxyard and /var/lib/kubelet are private from the start. Sysctls that
// are not of a network namespace are the host's: they are put back at the end.
// An instance whose test was killed is removed when the next one is started.
//
// Environment: BOXYARD_BIN (default bin/boxyard of the repository),
// BOXYARD_PAYLOAD_DIR (passed to `up --payload-dir`, for a binary that carries
// no payload), BOXYARD_TEST_KEEP=1 (keep the directory of a failed instance).
package harness
