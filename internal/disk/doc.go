// Package disk says what uses how much of the disk, across Docker and
// Kubernetes. It only reads.
package disk
