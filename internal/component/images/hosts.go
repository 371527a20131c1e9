package images

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// DefaultPort is the mirror's TCP port on 127.0.0.1. Nothing of Kubernetes listens on it (10248 to
// 10260 are the health and metrics ports of its parts).
const DefaultPort = 10241

// HostsTOML is the table that comes first in each hosts.toml below CRI's registry config_path: the mirror is asked
// before the registry, to which a file without `server` falls back (containerd
// core/remotes/docker/config/hosts.go, ConfigureHosts). containerd reads the file and the
// certificates again at every pull. config_path must be one directory and not a list: the transfer
// service, through which CRI pulls, does not split it (core/transfer/registry/registry.go).
func HostsTOML(port int, pkiDir string) string {
	if port == 0 {
		port = DefaultPort
	}
	file := func(name string) string { return strconv.Quote(filepath.Join(pkiDir, "images", name)) }
	return fmt.Sprintf(`[host."https://127.0.0.1:%d"]
  capabilities = ["pull", "resolve"]
  ca = %s
  client = [[%s, %s]]
`, port, file("ca.crt"), file("client.crt"), file("client.key"))
}
