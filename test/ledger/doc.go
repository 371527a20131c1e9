// Package ledger writes to the Kubernetes API while things go wrong, remembers
// what the API has acknowledged, and compares it afterwards with what is there:
// an acknowledged write that is missing, or an acknowledged deletion that came
// back, is lost data. A request without an answer may have been done or not.
package ledger
