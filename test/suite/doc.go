// Package suite has what the programs need alike that run an upstream's own Go tests against Boxyard: reading what came
// of each test, the lists of those that cannot run or are known to fail, and the document.
package suite
