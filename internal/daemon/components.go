package daemon

import (
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/boxyard/boxyard/internal/component/cluster"
	"github.com/boxyard/boxyard/internal/component/containerd"
	"github.com/boxyard/boxyard/internal/component/dns"
	"github.com/boxyard/boxyard/internal/component/dnsstandby"
	"github.com/boxyard/boxyard/internal/component/dockerd"
	"github.com/boxyard/boxyard/internal/component/frontdoor"
	"github.com/boxyard/boxyard/internal/component/images"
	"github.com/boxyard/boxyard/internal/component/names"
	"github.com/boxyard/boxyard/internal/component/network"
	"github.com/boxyard/boxyard/internal/component/registries"
	"github.com/boxyard/boxyard/internal/component/registry"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/disk"
	"github.com/boxyard/boxyard/internal/nft"
	"github.com/boxyard/boxyard/internal/paths"
	said "github.com/boxyard/boxyard/internal/registries"
	"github.com/boxyard/boxyard/internal/supervisor"
	"github.com/boxyard/boxyard/internal/version"
)

// Components is everything that runs, in the order in which status shows it. Each says itself what
// it requires; they stop in the reverse order of that:
//
//	cluster (so that no kubelet starts pods anew), dockerd (which stops its containers) and images,
//	then containerd (which stops the pods first); dns and network when nobody needs them any more
func Components(m *machine) ([]supervisor.Component, error) {
	net, err := network.New(m.networkOptions(), m.log)
	if err != nil {
		return nil, err
	}
	var docker *dockerd.Component
	if m.has("docker") {
		if docker, err = m.dockerd(); err != nil {
			return nil, err
		}
	}
	all := []supervisor.Component{net, m.registries(docker), m.containerd()}
	if docker != nil {
		all = append(all, docker)
	}
	all = append(all, m.images())
	if m.has("cluster") {
		all = append(all, m.cluster(), m.dns())
	}
	if m.has("cluster") || m.has("docker") {
		all = append(all, m.names(net), m.dnsStandby())
	}
	m.registry = m.newRegistry()
	all = append(all, m.registry)
	if m.config.FrontDoor.Port != 0 {
		m.frontDoor = m.newFrontDoor()
		all = append(all, m.frontDoor)
	}
	return all, nil
}

func (m *machine) networkOptions() network.Options {
	o := networkOptions(m.config, m.ranges, m.facts.NFT, m.has("docker"))
	o.NFTSocket = m.lentNFT().Socket
	if m.has("docker") && m.config.Docker.OpenToPods {
		o.Open = names.Opened(m.namesDir())
	}
	return o
}

func networkOptions(c config.Config, r ranges, nft string, docker bool) network.Options {
	o := network.Options{
		PodBridge: c.Network.Bridge, NodeIPs: r.nodes, PodCIDRs: r.pods, ServiceCIDRs: r.services,
		LoadBalancerPools: r.balancers, NamesPort: config.DNSPort, NFT: nft,
	}
	if docker {
		o.DockerBridge, o.DockerBridgeCIDR, o.DockerPool = c.Network.DockerBridge, r.docker, r.pool
	}
	return o
}

func (m *machine) containerd() *containerd.Component {
	c := containerd.New(containerd.Options{
		Layout: m.layout, Payload: m.bin, Version: m.versions["containerd"], Log: m.config.Log, Proxy: m.config.Proxy,
		Cgroup:       m.cgroup.OfPart("containerd"),
		PauseImage:   m.pauseImage(),
		Bridge:       m.config.Network.Bridge,
		PodCIDRs:     masked(m.ranges.nodes),
		CgroupDriver: m.facts.CgroupDriver,
		CapResource:  m.facts.CapResource,
		Registries:   m.registriesDir(),
		Ephemeral:    m.config.Ephemeral,
		PlainCNI:     slices.Contains(m.config.WithoutFastPaths, config.FastPodNetwork),
		ManyShims:    slices.Contains(m.config.WithoutFastPaths, config.FastShim),
		NoFilters:    slices.Contains(m.config.WithoutFastPaths, config.FastSeccomp),
	})
	c.Keep = m.keep
	return c
}

func (m *machine) registriesDir() string { return m.layout.RunOf("registries") }

// registries tells docker, where there is one, which are insecure.
func (m *machine) registries(docker *dockerd.Component) *registries.Component {
	o := registries.Options{
		Source: said.Dir, Target: m.registriesDir(),
		Mirror: images.HostsTOML(images.DefaultPort, m.layout.PKIDir()),
		Logger: m.log.With("component", "registries"),
	}
	if docker != nil {
		o.Insecure = docker.SetInsecureRegistries
	}
	return registries.New(o)
}

func (m *machine) dockerd() (*dockerd.Component, error) {
	a, err := m.access()
	if err != nil {
		return nil, err
	}
	o := dockerd.Options{
		Layout: m.layout, Payload: m.bin, Version: m.versions["docker"], Log: m.config.Log, Proxy: m.config.Proxy,
		Cgroup:     m.cgroup.OfPart("dockerd"),
		Bridge:     m.config.Network.DockerBridge,
		CIDR:       m.ranges.docker,
		Pool:       m.ranges.pool,
		CgroupRoot: m.config.CgroupRoot, CgroupDriver: m.facts.CgroupDriver,
		LentNFT: m.lentNFT(), NFT: m.facts.NFT,
		GID: a.GID, PublicLink: publicSocket(m.layout), Socket: m.config.Docker.Socket,
		Access: func(socket string) error {
			// Who has access may have changed since the daemon started.
			now, err := m.access()
			if err != nil {
				return err
			}
			return now.Apply(socket, 0o660)
		},
	}
	if o.BuildCache, err = m.buildCache(); err != nil {
		return nil, err
	}
	if m.config.Docker.Names {
		o.DNS = []netip.Addr{m.ranges.nodes[0].Addr()}
	}
	if m.config.Docker.OpenToPods {
		o.PodMark = network.PodMark
	}
	c := dockerd.New(o)
	c.Keep = m.keep
	return c, nil
}

// buildCache holds what builds keep to the limit of the disk. The other numbers are BuildKit's own
// (cmd/buildkitd/config/gcpolicy.go and gcpolicy_unix.go).
func (m *machine) buildCache() (dockerd.BuildCache, error) {
	total, _, err := disk.Size(m.layout.Data)
	if err != nil {
		return dockerd.BuildCache{}, err
	}
	limit := total / 100 * int64(m.config.Disk.LimitPercent)
	return dockerd.BuildCache{ReservedBytes: min(total/10, 10e9), MaxBytes: min(limit, 100e9), MinFreeBytes: total - limit}, nil
}

func (m *machine) images() *images.Component {
	docker := ""
	if m.has("docker") {
		docker = m.layout.DockerSocket()
	}
	return images.New(images.Options{
		Socket: m.layout.ContainerdSocket(), Port: images.DefaultPort, PKIDir: m.layout.PKIDir(),
		DataDir: m.layout.DataOf("images"), InUseFile: m.imagesInUseFile(),
		ImagesTar:    filepath.Join(m.bin, "images.tar"),
		BaseImages:   m.baseImages(),
		DockerSocket: docker,
		Proxied:      m.config.Proxy.HTTP != "" || m.config.Proxy.HTTPS != "",
		Registries:   said.Dir,
		Logger:       m.log.With("component", "images"),
	})
}

func (m *machine) cluster() *cluster.Component {
	c := cluster.New(cluster.Options{
		Layout: m.layout, Binary: filepath.Join(m.bin, "cluster"), Env: m.lentNFT().Environ(m.environment()),
		Version: m.versions["kubernetes"], Boxyard: version.Version,
		NodeName: m.pki.NodeName, NodeIPs: addresses(m.ranges.nodes), APIPort: m.config.APIPort,
		PodCIDRs: m.ranges.pods, ServiceCIDRs: m.ranges.services,
		LoadBalancerPools: m.ranges.balancers, NodePorts: m.config.Network.NodePorts,
		ClusterDNS: []netip.Addr{dnsAddress(m.ranges.services[0])}, DNSPort: config.DNSPort,
		Bridge:     m.config.Network.Bridge,
		CgroupRoot: m.cgroup.Kubelet(), CgroupDriver: m.facts.CgroupDriver, Cgroup: m.cgroup.OfPart("cluster"),
		ImagesInUseFile: m.imagesInUseFile(), ResolvConf: podResolvConf(),
		Audit: cluster.Audit{
			Enabled: m.config.Audit.Enabled, PolicyFile: m.config.Audit.PolicyFile, LogFile: m.layout.AuditLog(),
			MaxSizeMB: m.config.Audit.MaxSizeMB, MaxBackups: m.config.Audit.MaxBackups, MaxAgeDays: m.config.Audit.MaxAgeDays,
		},
		VolumesDir: m.config.Storage.Path, WithoutFastPaths: m.config.WithoutFastPaths, Ephemeral: m.config.Ephemeral,
		DiskLimitPercent: m.config.Disk.LimitPercent,
	}, m.config.Log)
	c.Keep = m.keep
	return c
}

// resolvConf is for the processes that share the host's loopback: systemd-resolved's stub, with its
// split DNS, is right for them.
const resolvConf = "/etc/resolv.conf"

func (m *machine) dns() *dns.Component {
	c := dns.New(m.dnsOptions(), m.config.Log)
	c.Keep = m.keep
	return c
}

func (m *machine) dnsOptions() dns.Options {
	return dns.Options{
		Layout: m.layout, Binary: filepath.Join(m.bin, "dns"), Env: m.environment(), Version: m.versions["coredns"],
		Cgroup: m.cgroup.OfPart("dns"),
		Listen: addresses(m.ranges.nodes), Port: config.DNSPort, ResolvConf: resolvConf, HostsFile: names.HostsFile(m.namesDir()),
	}
}

func (m *machine) namesDir() string { return m.layout.RunOf("names") }

func (m *machine) names(net *network.Component) *names.Component {
	o := names.Options{
		Dir: m.namesDir(), Node: m.ranges.nodes[0].Addr(), Logger: m.log.With("component", "names"),
	}
	if m.has("docker") {
		o.DockerSocket, o.Containers = m.layout.DockerSocket(), m.config.Docker.Names
		if m.config.Docker.OpenToPods {
			o.Open = net.Open
		}
	}
	return names.New(o)
}

func (m *machine) dnsStandby() *dnsstandby.Component {
	o := m.dnsOptions()
	return dnsstandby.New(dnsstandby.Options{
		Listen: o.Listen, Port: o.Port, ResolvConf: o.ResolvConf, HostsFile: o.HostsFile,
		SnapshotFile: dns.NewConfig(o).SnapshotFile, StatusSocket: dns.StatusSocket(o),
		Logger: m.log.With("component", "dns-standby"),
	})
}

func (m *machine) newRegistry() *registry.Component {
	return registry.New(registry.Options{
		Layout: m.layout, Binary: filepath.Join(m.bin, "registry"), Env: m.environment(), Version: m.versions["distribution"],
		Log: m.config.Log, Cgroup: m.cgroup.OfPart("registry"), Registries: said.Dir,
	})
}

// idle says whether a part is there only in case it is wanted.
func (m *machine) idle(part string) bool {
	return m.registry != nil && part == m.registry.Name() && !m.registry.Wanted()
}

func (m *machine) newFrontDoor() *frontdoor.Component {
	o := frontdoor.Options{Port: m.config.FrontDoor.Port, Logger: m.log.With("component", "front-door")}
	if m.has("docker") {
		o.DockerSocket, o.DockerDir = m.layout.DockerSocket(), m.layout.DataOf("docker")
	}
	if m.has("cluster") {
		o.Kubeconfig = filepath.Join(m.layout.PKIDir(), "controllers.kubeconfig")
	}
	return frontdoor.New(o)
}

func (m *machine) pauseImage() string { return "docker.io/boxyard/pause:" + m.versions["pause"] }

// baseImages come with the payload.
func (m *machine) baseImages() []string {
	return []string{m.pauseImage(), "docker.io/boxyard/base:latest"}
}

// wantedImages are the full names of those that must stay though no container has them.
func (m *machine) wantedImages() ([]string, error) {
	pods, err := images.PodImages(m.imagesInUseFile())
	return append(pods, m.baseImages()...), err
}

func (m *machine) imagesInUseFile() string {
	return filepath.Join(m.layout.Data, "images-in-use.json")
}

// environment of the cluster's processes: they find nft, mount and the payload's tools by the PATH.
func (m *machine) environment() []string {
	return []string{"PATH=" + m.bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
}

// lentNFT is for those who change rules while containers and pods come and go.
func (m *machine) lentNFT() nft.Lent {
	if slices.Contains(m.config.WithoutFastPaths, config.FastNFT) {
		return nft.Lent{}
	}
	return nft.Lent{Dir: filepath.Join(m.bin, "nft"), Socket: m.layout.NFTSocket(), Path: m.facts.NFT}
}

// publicSocket is only for the machine's ordinary instance.
func publicSocket(l paths.Layout) string {
	if l != paths.Default() {
		return ""
	}
	return dockerd.PublicSocket
}

// dnsAddress is the tenth of the service range, as everywhere since kubeadm.
func dnsAddress(services netip.Prefix) netip.Addr {
	a := services.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	return a
}

func addresses(prefixes []netip.Prefix) []netip.Addr {
	out := make([]netip.Addr, len(prefixes))
	for i, p := range prefixes {
		out[i] = p.Addr()
	}
	return out
}

func masked(prefixes []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, len(prefixes))
	for i, p := range prefixes {
		out[i] = p.Masked()
	}
	return out
}
