package controlapi

import (
	"errors"
	"net/http"

	"github.com/boxyard/boxyard/internal/fault"
)

// FromError makes the wire form of an error. An error that is no fault gets the code "internal".
func FromError(err error) Error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return Error{Code: "internal", Summary: err.Error()}
	}
	return Error{Code: f.Code, Summary: f.Error(), Hint: f.Hint, Exit: f.Exit}
}

// Fault is the inverse of FromError. The cause has become part of the summary.
func (e Error) Fault() *fault.Error {
	return &fault.Error{Code: e.Code, Summary: e.Summary, Hint: e.Hint, Exit: e.Exit}
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
