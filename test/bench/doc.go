// Command bench measures Boxyard beside its peers, on one machine and in one
// run: each measure is taken of every subject in turn, round after round, so
// that what the machine does meanwhile hits all of them. It writes every sample
// to bench/results.json and what came of them to docs/performance.md.
//
//	make bench                    everything
//	make bench ONLY='run|build'   the measures whose names match
//
// Besides, some figures are taken of Boxyard alone as there is more and more of
// something (growths), and bench/published.json has what others have published.
//
// Each subject is confined as the tests' instances are (package harness), with
// its storage on the disk. Peers run as their upstream has them by default; what
// is different is in peers.go and kubernetes.go, each with the reason.
package main
