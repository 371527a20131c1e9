// Package dnsstandby answers DNS in the daemon while the dns process is away,
// so that killing or upgrading that process fails no lookup.
//
// It opens the same addresses as the dns process with SO_REUSEPORT. A socket
// filter makes the kernel give every query to the other socket of the group, as
// long as there is one; when the dns process dies, its socket leaves the group
// and the kernel gives the queries to ours, with no gap and no polling. Answers
// come from the snapshot that the dns process keeps on disk.
//
// It imports no other component.
package dnsstandby
