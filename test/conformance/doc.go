// Command conformance runs upstream's end-to-end specs on one confined Boxyard
// and writes down what came of each. Results are kept in build/conformance, by
// the state of the tree (documents aside), suite and run: what has a result is
// not run again, so an interrupted run goes on with what is missing.
//
// `make conformance` builds what it needs and calls it. The suites are in
// suite.go; what cannot run on one node without a registry is in unrunnable.txt,
// with the reason; the specs of `make test` are in sample.txt.
package main
