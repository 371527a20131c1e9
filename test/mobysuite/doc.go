// Command mobysuite runs moby's own integration tests of the Docker API against
// a confined Boxyard, and writes docs/compatibility.md: what passed, failed and
// was skipped, by name. The tests are those of the moby module at the version
// that the engine has. Tests that start a daemon of their own say nothing about
// this one, and are left out.
//
//	make moby-suite                       all of them, or the rest of an interrupted run
//	make moby-suite FOCUS='container/.*'  those whose names match
package main
