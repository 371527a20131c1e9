// Package faults kills each part of a confined platform with -9, keeps it away
// for 10 s, then all of them at once, while requests come in, and expects that
// none of them fails. It needs root and the build tag faults:
//
//	sudo make test-faults
package faults
