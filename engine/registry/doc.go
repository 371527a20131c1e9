// Package registry serves the registry of this machine, and caches in front of
// others: the distribution project's library on the file system. The daemon says in
// one JSON file what to serve; this package only turns that into the library's
// configuration, and adds what it lacks: several registries in one process, a limit
// to a cache's size, and the referrers API.
package registry
