// Package load sends a steady, bounded number of HTTP requests to one URL and
// keeps the raw result of each. It is how the demo and the tests know that no
// request failed while something was updated or killed.
//
// Requests are sent by the clock, not when the previous answer has come, so a
// stall shows as latency of all the requests that it delayed. Nothing is ever
// retried: the client here is small and our own because net/http repeats
// requests on broken keep-alive connections by itself.
//
// It imports nothing of Boxyard.
package load
