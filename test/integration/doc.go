// Package integration tests the packed binary as a user meets it, in confined
// instances (package harness). It needs root, and the build tag integration:
//
//	sudo make test-integration
//
// TestPlatform runs what can share one instance, TestLifecycle walks one through
// kills, down, a reboot and reset, and the rest is about hosts and input that
// are not as one would wish.
package integration
