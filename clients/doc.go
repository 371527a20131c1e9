// Command clients is docker (with buildx and compose), kubectl and helm in one
// executable. It is the client that it is called by, through a link or as the
// first argument: `docker ps` and `clients docker ps` are the same.
//
// The command trees are upstream's own. What is ours is in the packages docker
// and kube: which engine and which cluster a client talks to when nobody said.
package main
