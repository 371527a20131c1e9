// Package cli is the boxyard command: one file per noun. It parses flags, turns
// them once into a config, talks to the daemon through controlapi, and prints.
// Errors become text and exit codes in one place, errors.go.
//
// It must not import a component.
package cli
