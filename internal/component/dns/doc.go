// Package dns is the part `dns`: CoreDNS as a process of its own, so that names
// resolve while the cluster is away. It writes dns.json, which that process
// decodes strictly, and watches its status socket.
//
// It shares no code with the module cluster/: testdata/dns.json is checked by
// the tests of both.
package dns
