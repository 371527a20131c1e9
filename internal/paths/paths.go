// Package paths is the one place that knows where Boxyard keeps things. It
// only joins names; it creates nothing and imports nothing of Boxyard.
package paths

import "path/filepath"

// Layout is where one instance keeps its files. All paths are absolute.
type Layout struct {
	Data   string // state that must survive a reboot
	Run    string // sockets and runtime state; gone after a reboot
	Config string // directory of config.yaml and kubeconfig
	Log    string // log files of the parts
}

// Default is the layout of a machine's ordinary instance.
func Default() Layout {
	return Layout{
		Data:   "/var/lib/boxyard",
		Run:    "/run/boxyard",
		Config: "/etc/boxyard",
		Log:    "/var/log/boxyard",
	}
}

// Files and directories of the daemon itself.
func (l Layout) ConfigFile() string    { return filepath.Join(l.Config, "config.yaml") }
func (l Layout) Kubeconfig() string    { return filepath.Join(l.Config, "kubeconfig") } // cluster-admin, 0600 plus an ACL for the user
func (l Layout) ControlSocket() string { return filepath.Join(l.Run, "boxyard.sock") }
func (l Layout) LockFile() string      { return filepath.Join(l.Run, "boxyard.lock") }
func (l Layout) ProcessDir() string    { return filepath.Join(l.Run, "process") } // one NAME.json per child, for adoption
func (l Layout) PayloadDir() string    { return filepath.Join(l.Data, "payload") }
func (l Layout) BinDir() string        { return filepath.Join(l.Data, "bin") } // links docker, kubectl, helm for the user's PATH
func (l Layout) PKIDir() string        { return filepath.Join(l.Data, "pki") }
func (l Layout) StateFile() string     { return filepath.Join(l.Data, "state.json") } // what was decided at creation
func (l Layout) LogFile(part string) string {
	return filepath.Join(l.Log, part+".log")
}
func (l Layout) AuditLog() string { return filepath.Join(l.Log, "audit", "audit.log") } // 0600 in a directory of 0700

// Sockets that others connect to.
func (l Layout) ContainerdSocket() string {
	return filepath.Join(l.Run, "containerd", "containerd.sock")
}
func (l Layout) DockerSocket() string { return filepath.Join(l.Run, "docker.sock") }
func (l Layout) NFTSocket() string    { return filepath.Join(l.Run, "nft.sock") } // see package nft

// RunOf and DataOf are a part's own directories.
func (l Layout) RunOf(part string) string  { return filepath.Join(l.Run, part) }
func (l Layout) DataOf(part string) string { return filepath.Join(l.Data, part) }
