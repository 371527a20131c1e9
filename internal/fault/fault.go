// Package fault holds the errors that people read: what happened, why, and
// what to do next. It imports nothing of Boxyard.
package fault

import (
	"errors"
	"fmt"
)

// Exit codes of the boxyard command. They are documented in README.md and never change meaning.
const (
	ExitOK          = 0
	ExitError       = 1
	ExitUsage       = 2
	ExitDegraded    = 3
	ExitNeedsRoot   = 4
	ExitNotRunning  = 5
	ExitInterrupted = 130
)

// Error is an error for people. Build it where the knowledge is; the CLI prints it once, at the edge.
type Error struct {
	// Code is stable and kebab-case, for scripts and tests: "port-in-use".
	Code string
	// Summary says what is wrong in one line, with the offending value: "port 6443 is in use by nginx (pid 812)".
	Summary string
	// Hint is the next step, ready to type where possible: "boxyard up --api-port 6444". May be empty.
	Hint string
	// Exit is the exit code of the command that fails with it. Zero means ExitError.
	Exit int
	// Cause is the underlying error. May be nil.
	Cause error
}

// Error renders summary and cause on one line, without the hint.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Summary
	}
	return fmt.Sprintf("%s: %v", e.Summary, e.Cause)
}

// Unwrap gives errors.Is and errors.As the cause.
func (e *Error) Unwrap() error { return e.Cause }

// ExitCode maps any error to the exit code of the command; nil is ExitOK.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if f, ok := errors.AsType[*Error](err); ok && f.Exit != 0 {
		return f.Exit
	}
	return ExitError
}

// Code returns the code of the first Error in the chain, or "" where there is none.
func Code(err error) string {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Code
	}
	return ""
}
