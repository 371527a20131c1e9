package cluster

import (
	"encoding/json"
	"net/netip"
	"path/filepath"

	"github.com/boxyard/boxyard/internal/audit"
	"github.com/boxyard/boxyard/internal/paths"
)

// KubeletDir is where charts and CSI drivers expect the kubelet's directory.
const KubeletDir = "/var/lib/kubelet"

// Options is what the daemon knows about this instance.
type Options struct {
	Layout  paths.Layout
	Binary  string   // the payload's cluster
	Env     []string // of the process, complete
	Version string   // Kubernetes', for status
	Boxyard string   // our own version

	NodeName     string
	NodeIPs      []netip.Addr // IPv4 first
	APIPort      int
	PodCIDRs     []netip.Prefix
	ServiceCIDRs []netip.Prefix
	// LoadBalancerPools is empty where Services of type LoadBalancer have the node's addresses.
	LoadBalancerPools []netip.Prefix
	NodePorts         string // "all" or "loopback"
	ClusterDNS        []netip.Addr
	DNSPort           int
	Bridge            string

	CgroupRoot   string // as the kubelet names it: "/boxyard"
	CgroupDriver string // "systemd" or "cgroupfs"
	Cgroup       string // of the process itself; "" leaves it in ours

	ImagesInUseFile string
	ResolvConf      string
	VolumesDir      string
	// DiskLimitPercent is config.Disk.LimitPercent.
	DiskLimitPercent int
	// WithoutFastPaths has the words of config.yaml's key of that name.
	WithoutFastPaths []string
	Ephemeral        bool // etcd need not outlive a power cut

	Audit Audit
}

// Audit is cluster.json's audit, and what config.yaml says of it.
type Audit struct {
	Enabled    bool   `json:"enabled"`
	PolicyFile string `json:"policyFile"` // "" takes the cluster process' own policy
	LogFile    string `json:"logFile"`
	MaxSizeMB  int    `json:"maxSizeMB"`
	MaxBackups int    `json:"maxBackups"`
	MaxAgeDays int    `json:"maxAgeDays"`
}

// check looks at the policy before each start: the file may have changed since `up` looked.
func (a Audit) check() error {
	if !a.Enabled || a.PolicyFile == "" {
		return nil
	}
	return audit.Check(a.PolicyFile)
}

// Config is cluster.json.
type Config struct {
	NodeName          string   `json:"nodeName"`
	NodeIPs           []string `json:"nodeIPs"`
	APIPort           int      `json:"apiPort"`
	DataDir           string   `json:"dataDir"`
	RunDir            string   `json:"runDir"`
	PKIDir            string   `json:"pkiDir"`
	KubeletDir        string   `json:"kubeletDir"`
	EncryptionConfig  string   `json:"encryptionConfig"`
	PodCIDRs          []string `json:"podCIDRs"`
	ServiceCIDRs      []string `json:"serviceCIDRs"`
	NodeCIDRMaskSizes []int    `json:"nodeCIDRMaskSizes"`
	LoadBalancerPools []string `json:"loadBalancerPools"`
	NodePorts         string   `json:"nodePorts"`
	ClusterDNS        []string `json:"clusterDNS"`
	DNSPort           int      `json:"dnsPort"`
	CRISocket         string   `json:"criSocket"`
	CgroupRoot        string   `json:"cgroupRoot"`
	CgroupDriver      string   `json:"cgroupDriver"`
	Bridge            string   `json:"bridge"`
	ImagesInUseFile   string   `json:"imagesInUseFile"`
	ResolvConf        string   `json:"resolvConf"`
	Audit             Audit    `json:"audit"`
	VolumesDir        string   `json:"volumesDir"`
	DiskLimitPercent  int      `json:"diskLimitPercent"`
	WithoutFastPaths  []string `json:"withoutFastPaths,omitempty"`
	Ephemeral         bool     `json:"ephemeral,omitempty"`
	Version           string   `json:"version"`
}

// NewConfig builds cluster.json's content. It touches nothing.
func NewConfig(o Options) Config {
	return Config{
		NodeName:          o.NodeName,
		NodeIPs:           texts(o.NodeIPs),
		APIPort:           o.APIPort,
		DataDir:           o.Layout.DataOf(name),
		RunDir:            o.Layout.RunOf(name),
		PKIDir:            o.Layout.PKIDir(),
		KubeletDir:        KubeletDir,
		EncryptionConfig:  filepath.Join(o.Layout.PKIDir(), "encryption.yaml"),
		PodCIDRs:          texts(o.PodCIDRs),
		ServiceCIDRs:      texts(o.ServiceCIDRs),
		NodeCIDRMaskSizes: maskSizes(o.PodCIDRs),
		LoadBalancerPools: texts(o.LoadBalancerPools),
		NodePorts:         o.NodePorts,
		ClusterDNS:        texts(o.ClusterDNS),
		DNSPort:           o.DNSPort,
		CRISocket:         o.Layout.ContainerdSocket(),
		CgroupRoot:        o.CgroupRoot,
		CgroupDriver:      o.CgroupDriver,
		Bridge:            o.Bridge,
		ImagesInUseFile:   o.ImagesInUseFile,
		ResolvConf:        o.ResolvConf,
		Audit:             o.Audit,
		VolumesDir:        o.VolumesDir,
		DiskLimitPercent:  o.DiskLimitPercent,
		WithoutFastPaths:  o.WithoutFastPaths,
		Ephemeral:         o.Ephemeral,
		Version:           o.Boxyard,
	}
}

func (c Config) encode() ([]byte, error) {
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(data, '\n'), nil
}

// maskSizes: a node has a /22 and a /64, room for the pods of the largest node and no waste.
func maskSizes(pods []netip.Prefix) []int {
	sizes := make([]int, len(pods))
	for i, p := range pods {
		sizes[i] = 22
		if p.Addr().Is6() {
			sizes[i] = 64
		}
	}
	return sizes
}

func texts[T interface{ String() string }](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}
