// Package docker is the docker command. The commands are those of
// github.com/docker/cli; this package does what upstream's main program does,
// which cannot be imported, and differs from it in two things: the engine is
// Boxyard's unless the user chose another, and the plugins buildx and compose
// are found beside the executable, with nothing installed in the user's home.
//
// It must not import buildx, compose or Kubernetes: their packages take long to
// initialize, and docker is called often.
package docker
