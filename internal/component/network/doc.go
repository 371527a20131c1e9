// Package network makes and keeps what lies under pods and containers: their
// bridges, the node's address, the routes of the cluster's ranges, the nft table
// "inet boxyard", acceptance past a host firewall, and the sysctls that all of it
// needs. What disappears while Boxyard runs is made again. Beside it runs the
// keeper that lends processes of nft to dockerd and to kube-proxy (package
// internal/nft). Stopping the component leaves everything as it is, since pods and
// containers outlive it; Remove takes everything back, except the sysctls, which
// package host records and restores.
//
// It belongs to package daemon and imports no other component.
package network
