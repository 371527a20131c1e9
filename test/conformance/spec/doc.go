// Package spec knows upstream's specs and what came of them: it reads ginkgo's
// reports, keeps results in a file, so that an interrupted run goes on with what
// is missing, and cuts what is missing into batches. It starts nothing.
package spec
