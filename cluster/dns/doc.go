// Package dns is the dns process: CoreDNS as a library, answering for the
// cluster's names from its informers and for all others from the host's
// resolvers. What it knows of the cluster is kept in a file, so that names also
// resolve when it starts while the API is away.
//
// The plugin kubernetes of CoreDNS is used as it is, with its records; only where
// it gets objects from is ours (see source).
package dns
