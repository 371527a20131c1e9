// Package imagesinuse writes which images the pods of this node and the
// templates in the API name, for the image guard of the daemon: what a pod may
// need again is not pruned. It only reads the API.
package imagesinuse
