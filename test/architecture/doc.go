// Package architecture holds the rules of ARCHITECTURE.md that a compiler does
// not know, as tests: which modules and packages may not meet, that every package says what it is,
// that no module replaces another by a directory. It has no code of its own.
package architecture
