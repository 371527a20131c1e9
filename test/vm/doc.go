// Package vm tries the packed binary on a machine like a user's: Debian 12
// with systemd, cgroup v2 and all capabilities, booted under qemu without
// hardware acceleration. The tests need the build tag vm, root, and the
// packages that `make deps-vm` installs; `make test-vm` runs them.
//
// The guest reaches nothing but this host's forwarded SSH port on loopback.
package vm
