// Package controlplane runs etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler in this process. Each is configured as its upstream command
// would be, through the packages under that command: the commands themselves
// install signal handlers of their own and cannot run side by side.
//
// What is built from the configuration (arguments, etcd's configuration) is
// pure and compared with golden files; Run functions block until their part ends.
package controlplane
