package controlapi

import (
	"errors"
	"net/http"

	"github.com/boxyard/boxyard/internal/fault"
)

// FromError makes the wire form of an error. An error that is no fault gets the code "internal".
func FromError(err error) Error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
		all := joined.Unwrap()
		e := FromError(all[0])
		for _, other := range all[1:] {
			e.Also = append(e.Also, FromError(other))
		}
		return e
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return Error{Code: "internal", Summary: err.Error()}
	}
	return Error{Code: f.Code, Summary: err.Error(), Hint: f.Hint, Exit: f.Exit}
}

// Fault is the inverse of FromError. The cause has become part of the summary.
func (e Error) Fault() error {
	first := &fault.Error{Code: e.Code, Summary: e.Summary, Hint: e.Hint, Exit: e.Exit}
	if len(e.Also) == 0 {
		return first
	}
	all := []error{first}
	for _, other := range e.Also {
		all = append(all, other.Fault())
	}
	return errors.Join(all...)
}

// httpStatus is for people with curl; the client goes by the code alone.
func httpStatus(code string) int {
	switch code {
	case "bad-request":
		return http.StatusBadRequest
	case "no-component":
		return http.StatusNotFound
	case "starting", "stopping":
		return http.StatusConflict
	default:
		return http.StatusInternalServerError
	}
}
