// Package config is what the daemon tells the cluster and the dns process: two
// JSON files, decoded strictly. Their golden files are shared with the daemon's tests.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// Cluster is cluster.json. All paths are absolute.
type Cluster struct {
	NodeName          string   `json:"nodeName"`
	NodeIPs           []string `json:"nodeIPs"` // IPv4 first; the second is there with dual stack only
	APIPort           int      `json:"apiPort"`
	DataDir           string   `json:"dataDir"`
	RunDir            string   `json:"runDir"`
	PKIDir            string   `json:"pkiDir"`
	KubeletDir        string   `json:"kubeletDir"`
	EncryptionConfig  string   `json:"encryptionConfig"`
	PodCIDRs          []string `json:"podCIDRs"`
	ServiceCIDRs      []string `json:"serviceCIDRs"`
	NodeCIDRMaskSizes []int    `json:"nodeCIDRMaskSizes"` // in the order of PodCIDRs
	LoadBalancerPools []string `json:"loadBalancerPools"` // empty: Services of type LoadBalancer have the node's addresses
	NodePorts         string   `json:"nodePorts"`         // "all" addresses of the host, or "loopback"
	ClusterDNS        []string `json:"clusterDNS"`
	DNSPort           int      `json:"dnsPort"`
	CRISocket         string   `json:"criSocket"`
	CgroupRoot        string   `json:"cgroupRoot"`
	CgroupDriver      string   `json:"cgroupDriver"` // "cgroupfs" or "systemd"
	Bridge            string   `json:"bridge"`
	ImagesInUseFile   string   `json:"imagesInUseFile"`
	ResolvConf        string   `json:"resolvConf"`
	Audit             Audit    `json:"audit"`
	VolumesDir        string   `json:"volumesDir"`       // where volumes of claims are made
	DiskLimitPercent  int      `json:"diskLimitPercent"` // above it the kubelet removes images that nobody uses
	WithoutFastPaths  []string `json:"withoutFastPaths"`
	Ephemeral         bool     `json:"ephemeral"` // the data need not outlive a power cut
	Version           string   `json:"version"`
}

// What WithoutFastPaths may name that concerns this process.
const (
	FastVolumes     = "volumes"      // pods wait for their volumes as upstream has it
	FastEvents      = "events"       // the end of a container is found by looking once a second
	FastProbes      = "probes"       // a container that has started is asked whether it is ready once a period
	FastServices    = "services"     // kube-proxy writes its rules once a second at most
	FastQueues      = "queues"       // work queues count what happens in them
	FastStorage     = "storage"      // kube-apiserver reaches etcd through TLS and gRPC
	FastOpenAPI     = "openapi"      // kube-apiserver writes its OpenAPI document of version 2 before it serves
	FastIdle        = "idle"         // the process uses all processors and the usual clock while it has nothing to do
	FastWatchCaches = "watch-caches" // kube-apiserver caches all kinds of objects but events
)

// Fast says whether the fast path of one of these names is on.
func (c Cluster) Fast(path string) bool { return !slices.Contains(c.WithoutFastPaths, path) }

// Audit is the audit log of kube-apiserver.
type Audit struct {
	Enabled    bool   `json:"enabled"`
	PolicyFile string `json:"policyFile"` // "" takes the built-in policy
	LogFile    string `json:"logFile"`
	MaxSizeMB  int    `json:"maxSizeMB"`  // of one file before it is rotated
	MaxBackups int    `json:"maxBackups"` // rotated files kept
	MaxAgeDays int    `json:"maxAgeDays"` // of a rotated file
}

// NodePortsLoopback is the value of NodePorts that keeps other machines out.
const NodePortsLoopback = "loopback"

// diskSlack is how much further a collection of images goes than it has to, as upstream's defaults have it.
const diskSlack = 5

// DiskFloorPercent is where the kubelet stops removing images.
func (c Cluster) DiskFloorPercent() int { return c.DiskLimitPercent - diskSlack }

// PKI joins a name to the certificate directory.
func (c Cluster) PKI(name string) string { return filepath.Join(c.PKIDir, name) }

// Run joins a name to the runtime directory.
func (c Cluster) Run(name string) string { return filepath.Join(c.RunDir, name) }

// Addresses parses addresses of the configuration, such as NodeIPs.
func Addresses(texts []string) ([]netip.Addr, error) {
	addresses := make([]netip.Addr, len(texts))
	for i, text := range texts {
		var err error
		if addresses[i], err = netip.ParseAddr(text); err != nil {
			return nil, err
		}
	}
	return addresses, nil
}

// Prefixes parses ranges of the configuration, such as PodCIDRs.
func Prefixes(texts []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		var err error
		if prefixes[i], err = netip.ParsePrefix(text); err != nil {
			return nil, err
		}
	}
	return prefixes, nil
}

// DNS is dns.json. All paths are absolute.
type DNS struct {
	Listen        []string `json:"listen"`
	Port          int      `json:"port"`
	ClusterDomain string   `json:"clusterDomain"`
	Kubeconfig    string   `json:"kubeconfig"`
	ResolvConf    string   `json:"resolvConf"`
	SnapshotFile  string   `json:"snapshotFile"`
	HostsFile     string   `json:"hostsFile"`
	RunDir        string   `json:"runDir"`
}

// LoadCluster reads and checks cluster.json.
func LoadCluster(file string) (Cluster, error) {
	var c Cluster
	if err := load(file, &c); err != nil {
		return Cluster{}, err
	}
	switch {
	case len(c.NodeIPs) == 0 || len(c.ServiceCIDRs) == 0 || len(c.ClusterDNS) == 0:
		return Cluster{}, fmt.Errorf("%s: nodeIPs, serviceCIDRs and clusterDNS may not be empty", file)
	case len(c.PodCIDRs) == 0 || len(c.PodCIDRs) != len(c.NodeCIDRMaskSizes):
		return Cluster{}, fmt.Errorf("%s: nodeCIDRMaskSizes needs one number for each of podCIDRs", file)
	case c.Audit.Enabled && c.Audit.LogFile == "":
		return Cluster{}, fmt.Errorf("%s: audit.logFile may not be empty", file)
	case len(c.LoadBalancerPools) > len(c.NodeIPs):
		return Cluster{}, fmt.Errorf("%s: loadBalancerPools has more families than nodeIPs", file)
	case c.DiskLimitPercent <= diskSlack || c.DiskLimitPercent > 100:
		return Cluster{}, fmt.Errorf("%s: diskLimitPercent is %d; allowed: %d to 100", file, c.DiskLimitPercent, diskSlack+1)
	case c.NodePorts != "all" && c.NodePorts != NodePortsLoopback:
		return Cluster{}, fmt.Errorf("%s: nodePorts is %q; allowed: all or %s", file, c.NodePorts, NodePortsLoopback)
	}
	return c, nil
}

// LoadDNS reads and checks dns.json.
func LoadDNS(file string) (DNS, error) {
	var c DNS
	if err := load(file, &c); err != nil {
		return DNS{}, err
	}
	if len(c.Listen) == 0 || c.Port == 0 {
		return DNS{}, fmt.Errorf("%s: listen and port may not be empty", file)
	}
	return c, nil
}

func load(file string, into any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("decode %s: %w", file, err)
	}
	if decoder.More() {
		return errors.New(file + ": more than one JSON value")
	}
	return nil
}
