// Package nodeport makes node ports answer on 127.0.0.1 and ::1, which kube-proxy's
// mode nftables does not. The kernel does it all, by the rules of one nft table that
// stays when this process dies; here is only the list of the ports kept up to date.
//
// How the rules work, and why so, is in docs/adr/0016.
package nodeport
