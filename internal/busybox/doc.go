// Package busybox lists the files of an image that is a shell with the usual
// small tools. It is for programs that make images, not for Boxyard itself.
package busybox
