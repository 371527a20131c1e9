// Package kubeconfig puts the context boxyard into a user's ~/.kube/config and
// takes it out again, and touches nothing else there. The daemon is root and
// the directory is the user's, so every file operation is made with the user's
// own rights: a link planted there leads nowhere that the user could not go.
package kubeconfig
