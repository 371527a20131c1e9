// Package host knows this machine: facts about it, whether Boxyard can run here
// and on which addresses, and the sysctls as they were before Boxyard. Facts are
// plain data, so that a test can make a machine up. Only Detect (which may load
// kernel modules) and RestoreSysctls change anything.
//
// Of Boxyard it imports config, paths, fault and atomicfile only.
package host
