package main

import (
	"fmt"
	"strings"
)

// suite is a part of upstream's specs.
type suite struct {
	name string
	// labels is ginkgo's label filter, focus a regular expression for names; both must match.
	labels, focus string
	// list is a file with the names of the only specs that count, below test/conformance; "" for all.
	list string
	// unrunnable is a file with the names of specs that cannot run here, and why; "" for none.
	unrunnable string
	// args are further arguments of e2e.test.
	args []string
	// pages says that the runs are written to docs/.
	pages bool
}

func suites() []suite {
	const here = "test/conformance/"
	return []suite{
		{name: "conformance", labels: "Conformance", unrunnable: here + "unrunnable.txt", pages: true},
		{name: "sample", labels: "Conformance", list: here + "sample.txt"},
		// SCTP needs a kernel module that many hosts have not.
		{name: "networkpolicy", labels: "/^Feature:NetworkPolicy$/ && !/SCTP/"},
		{
			name: "storage", labels: "!Slow && !Disruptive", focus: `^External Storage .*\[Testpattern: (Dynamic PV|Generic Ephemeral-volume)`,
			unrunnable: here + "unrunnable-storage.txt", args: []string{"--storage.testdriver=" + here + "storage-driver.yaml"},
		},
	}
}

func findSuite(name string) (suite, error) {
	var names []string
	for _, s := range suites() {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return suite{}, fmt.Errorf("no suite %q; there are: %s", name, strings.Join(names, ", "))
}
