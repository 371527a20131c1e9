// Package atomicfile replaces a file so that a reader, or a machine that loses
// power, sees the old content or the new one and never a part of either. It
// imports nothing of Boxyard.
package atomicfile
