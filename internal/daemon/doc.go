// Package daemon is the composition root: it turns the configuration into one
// list of components (components.go), runs them under the supervisor, and serves
// the control API meanwhile. It also holds what outlives a daemon: what was
// decided at creation (state.json), who was given access (access.json), and Reset.
//
// It is the only importer of component/*.
package daemon
