package dns

import (
	"encoding/json"
	"net/netip"
	"path/filepath"

	"github.com/boxyard/boxyard/internal/paths"
)

// Options is what the daemon knows about this instance.
type Options struct {
	Layout  paths.Layout
	Binary  string   // the payload's dns
	Env     []string // of the process, complete
	Version string   // CoreDNS', for status
	Cgroup  string   // of the process itself; "" leaves it in ours

	Listen     []netip.Addr
	Port       int
	ResolvConf string
	HostsFile  string // the names under docker.internal, see component/names
}

// Config is dns.json.
type Config struct {
	Listen        []string `json:"listen"`
	Port          int      `json:"port"`
	ClusterDomain string   `json:"clusterDomain"`
	Kubeconfig    string   `json:"kubeconfig"`
	ResolvConf    string   `json:"resolvConf"`
	SnapshotFile  string   `json:"snapshotFile"`
	HostsFile     string   `json:"hostsFile"`
	RunDir        string   `json:"runDir"`
}

// NewConfig builds dns.json's content. It touches nothing.
func NewConfig(o Options) Config {
	listen := make([]string, len(o.Listen))
	for i, a := range o.Listen {
		listen[i] = a.String()
	}
	return Config{
		Listen:        listen,
		Port:          o.Port,
		ClusterDomain: "cluster.local",
		Kubeconfig:    filepath.Join(o.Layout.PKIDir(), "dns.kubeconfig"),
		ResolvConf:    o.ResolvConf,
		SnapshotFile:  filepath.Join(o.Layout.DataOf(name), "snapshot.json"),
		HostsFile:     o.HostsFile,
		RunDir:        o.Layout.RunOf(name),
	}
}

func (c Config) encode() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}
