// Package audit looks at an audit policy that a user wrote, as far as that goes
// without Kubernetes' packages: what is wrong with it is said before anything is
// started. kube-apiserver looks again, and has the last word.
package audit
