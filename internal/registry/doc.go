// Package registry has the words for the registry of this machine and its caches:
// what a user asks of them (Change), and how they are (State). The component does
// it, the control API carries it, the commands speak it.
package registry
