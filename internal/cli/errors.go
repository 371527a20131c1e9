package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/boxyard/boxyard/internal/fault"
)

// silent carries an exit code where everything has been said already.
type silent int

func (s silent) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// report prints err and returns the exit code. It is the only place that does either.
func (a *App) report(err error) int {
	var s silent
	switch {
	case err == nil:
		return fault.ExitOK
	case errors.As(err, &s):
		return int(s)
	case errors.Is(err, context.Canceled):
		return fault.ExitInterrupted
	}
	for _, e := range flatten(err) {
		a.printError(e)
	}
	return fault.ExitCode(err)
}

// flatten gives each of several joined errors its own line.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

func (a *App) printError(err error) {
	text := err.Error()
	var f *fault.Error
	if errors.As(err, &f) && f.Hint != "" {
		text += "\ntry: " + f.Hint
	}
	fmt.Fprintln(a.Err, "boxyard: "+strings.TrimSpace(text))
}
