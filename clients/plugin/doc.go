// Package plugin is buildx and compose as plugins of docker, and each by itself.
// It does what upstream's main programs do, which cannot be imported.
package plugin
