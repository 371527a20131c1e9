// Package archive is the format of the payload that is appended to the executable:
//
//	[program][frame ...][manifest, JSON][footer]
//
// A frame is a zstd frame with the contents of one or more files, one after the
// other: programs that share code compress far better together. Frames are
// independent, so that they are unpacked side by side. The footer has a fixed
// size and leads to the manifest, which leads to all else.
//
// The package knows bytes only: it opens, creates and removes no file.
package archive
