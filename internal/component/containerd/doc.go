// Package containerd runs the one containerd that Docker and Kubernetes share:
// its config.toml, the pods' network as a CNI configuration, and the check that
// says it is ready. Builders of files are pure functions; Component writes the
// files and runs the process. It imports no other component.
package containerd
