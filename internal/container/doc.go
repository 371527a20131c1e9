// Package container finds the addresses that reach a Docker container from this
// host now, by asking the Docker API. What is no container's is not its: Services
// are package service.
package container
