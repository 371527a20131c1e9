// Package version is the version of this program. It imports nothing.
package version

// Version is set by the linker (scripts/build.sh): the last tag and commit, as git describes them.
var Version = "dev" //nolint:gochecknoglobals // The linker can set only a variable.
