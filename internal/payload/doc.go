// Package payload owns the binaries that the executable carries: it finds them,
// verifies them, unpacks them once under a name made of their content, keeps
// the previous set for a way back, and removes older ones.
//
// The format is in the package archive, the program that packs in tools/pack.
// It imports of Boxyard only the packages archive, fault and version.
package payload
