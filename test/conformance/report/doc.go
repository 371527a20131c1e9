// Package report writes what came of the specs: a JUnit file for each run, which
// names the commit that it was made from, and a page for people.
package report
