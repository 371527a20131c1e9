// Package server is the cluster process: it starts the parts in the order in
// which they need each other, says on the status socket what is missing, and
// ends when any part ends, so that the supervisor outside starts all of them
// anew. A half-dead control plane would be worse than one that is away.
package server
