package config

// Config is what a user may set. The zero value is not useful; start from Default.
type Config struct {
	// APIPort is the TCP port of the Kubernetes API on loopback and on the node's address.
	APIPort int `json:"apiPort"`
	// NodeName is the Kubernetes node's name; "" takes the host name, lower case. Fixed at creation.
	NodeName string `json:"nodeName"`
	// Group may use the Docker socket, the control socket and the kubeconfig; "" takes docker where that group exists, else root.
	Group string `json:"group"`
	// Without names the optional parts that stay off: "cluster" (takes dns and network policy with it), "docker".
	Without []string `json:"without"`
	// WithoutFastPaths names what is to be done as upstream does it though we know a faster way: the constants Fast...
	WithoutFastPaths []string `json:"withoutFastPaths"`
	// Ephemeral is for data that is thrown away: nothing is written through to the disk, so that a power cut may lose
	// all of it, what was acknowledged included. Fixed at creation, but it may be turned off.
	Ephemeral bool `json:"ephemeral"`
	// CgroupRoot is the cgroup (or, under systemd, the slice without ".slice") that holds every container and pod.
	CgroupRoot string    `json:"cgroupRoot"`
	Network    Network   `json:"network"`
	Docker     Docker    `json:"docker"`
	FrontDoor  FrontDoor `json:"frontDoor"`
	Storage    Storage   `json:"storage"`
	Disk       Disk      `json:"disk"`
	Log        Log       `json:"log"`
	Audit      Audit     `json:"audit"`
	Proxy      Proxy     `json:"proxy"`
}

// What WithoutFastPaths may name.
const (
	FastVolumes     = "volumes"      // pods do not wait for the kubelet's poll of their volumes (ADR 29)
	FastPodNetwork  = "pod-network"  // one CNI plugin instead of three (ADR 31)
	FastEvents      = "events"       // the kubelet hears of a container's end from containerd (ADR 32)
	FastProbes      = "probes"       // a container that has started is asked early whether it is ready (ADR 35)
	FastServices    = "services"     // kube-proxy writes its rules at once (ADR 32)
	FastQueues      = "queues"       // work queues keep no metrics, which wake an idle cluster (ADR 38)
	FastStorage     = "storage"      // kube-apiserver calls etcd, which is in its process, directly (ADR 37)
	FastOpenAPI     = "openapi"      // kube-apiserver writes its OpenAPI documents when they are asked for (ADR 43, 44)
	FastWatchCaches = "watch-caches" // kube-apiserver caches no kinds of objects that seldom change (ADR 39)
	FastIdle        = "idle"         // with nothing to do the cluster has one processor and sleeps a little longer (ADR 41)
	FastNFT         = "nft"          // dockerd's and kube-proxy's rules are applied by processes of nft that stay (ADR 40)
	FastShim        = "shim"         // one shim for all containers (ADR 33)
	FastSeccomp     = "seccomp"      // that shim keeps the seccomp filters that runc compiles (ADR 36)
)

// Network has the addresses. CIDRs are fixed at creation of the data directory; an overlap with
// a route of the host is found then and another range is picked, unless the user set it.
type Network struct {
	PodCIDR      string `json:"podCIDR"`      // default 10.42.0.0/16, /22 per node
	ServiceCIDR  string `json:"serviceCIDR"`  // default 10.43.0.0/16
	PodCIDR6     string `json:"podCIDR6"`     // default fd42:b0c5:42::/48, /64 per node
	ServiceCIDR6 string `json:"serviceCIDR6"` // default fd42:b0c5:43::/112
	// IPv6 is "auto" (on where the host has IPv6), "on" or "off".
	IPv6 string `json:"ipv6"`
	// Bridge is the pods' bridge, DockerBridge that of Docker's default network.
	Bridge       string `json:"bridge"`       // default boxyard0
	DockerBridge string `json:"dockerBridge"` // default boxyard1
	DockerCIDR   string `json:"dockerCIDR"`   // default 10.44.0.0/16: the default bridge's network
	DockerPool   string `json:"dockerPool"`   // default 10.45.0.0/16: user-defined networks, /24 each
	// LoadBalancerPool has the addresses of Services of type LoadBalancer: a range, or "node" for
	// the node's own addresses (IPv6 too). Unlike the other ranges it may be changed later.
	LoadBalancerPool  string `json:"loadBalancerPool"`  // default 10.46.0.0/24
	LoadBalancerPool6 string `json:"loadBalancerPool6"` // default fd42:b0c5:46::/112
	// NodePorts says where node ports answer: "all" addresses of the host, or "loopback" (and the
	// node's own address, which only this machine has a route to).
	NodePorts string `json:"nodePorts"`
}

// NodeAddress is the value of Network.LoadBalancerPool that gives Services the node's own addresses.
const NodeAddress = "node"

// HasLoadBalancerPool tells whether Services have addresses of their own.
func (n Network) HasLoadBalancerPool() bool { return n.LoadBalancerPool != NodeAddress }

// Docker has what dockerd.json may be told.
type Docker struct {
	// Socket also serves the API at /var/run/docker.sock: "auto" (where that path is free), "on", "off".
	Socket string `json:"socket"`
	// Names lets containers and pods know each other by name: containers resolve the cluster's names, pods those of
	// containers, and both host.docker.internal. Without, containers ask the host's resolvers.
	Names bool `json:"names"`
	// OpenToPods lets pods reach every port of containers on bridge networks that are neither internal nor labelled
	// boxyard.pods=closed.
	OpenToPods bool `json:"openToPods"`
}

// FrontDoor is the HTTP proxy that serves Services and containers by name under .localhost.
type FrontDoor struct {
	// Port is its TCP port on loopback; 0 leaves it out.
	Port int `json:"port"`
}

// Storage has where the volumes of Kubernetes' claims are made.
type Storage struct {
	// Path may be changed: volumes that are there stay where they are.
	Path string `json:"path"` // default /var/lib/boxyard/volumes
}

// Disk has how full the file system of Boxyard's data may become before what can be had again is removed.
type Disk struct {
	// LimitPercent is one number for the kubelet's collection of images that nobody uses and BuildKit's of its cache.
	// It is at most 85: above, the kubelet evicts pods.
	LimitPercent int `json:"limitPercent"`
}

// Log bounds the log files of the parts.
type Log struct {
	MaxSizeMB int `json:"maxSizeMB"` // of one file before it is rotated; default 20
	MaxFiles  int `json:"maxFiles"`  // kept after rotation, the live one included; default 3
}

// Audit is the record of who asked the Kubernetes API for what. The files are bounded by size, number and age.
type Audit struct {
	Enabled    bool   `json:"enabled"`
	PolicyFile string `json:"policyFile"` // absolute, an audit.k8s.io/v1 Policy; "" takes the built-in one
	MaxSizeMB  int    `json:"maxSizeMB"`  // of one file before it is rotated; default 100
	MaxBackups int    `json:"maxBackups"` // rotated files kept; default 10
	MaxAgeDays int    `json:"maxAgeDays"` // of a rotated file before it is removed; default 30
}

// Proxy is what parts that fetch images use. Empty values fall back to the environment of `boxyard up`.
type Proxy struct {
	HTTP    string `json:"http"`
	HTTPS   string `json:"https"`
	NoProxy string `json:"noProxy"`
}

// Default is the configuration of a machine without a config.yaml.
func Default() Config {
	return Config{
		APIPort:    6443,
		CgroupRoot: "boxyard",
		Network: Network{
			PodCIDR:      "10.42.0.0/16",
			ServiceCIDR:  "10.43.0.0/16",
			PodCIDR6:     "fd42:b0c5:42::/48",
			ServiceCIDR6: "fd42:b0c5:43::/112",
			IPv6:         "auto",
			Bridge:       "boxyard0",
			DockerBridge: "boxyard1",
			DockerCIDR:   "10.44.0.0/16",
			DockerPool:   "10.45.0.0/16",

			LoadBalancerPool:  "10.46.0.0/24",
			LoadBalancerPool6: "fd42:b0c5:46::/112",
			NodePorts:         "all",
		},
		Docker:    Docker{Socket: "auto", Names: true, OpenToPods: true},
		FrontDoor: FrontDoor{Port: 80},
		Storage:   Storage{Path: "/var/lib/boxyard/volumes"},
		Disk:      Disk{LimitPercent: 80},
		Log:       Log{MaxSizeMB: 20, MaxFiles: 3},
		// The numbers of the CIS benchmark (docs/security.md, 1.2.17 to 1.2.19).
		Audit: Audit{MaxSizeMB: 100, MaxBackups: 10, MaxAgeDays: 30},
	}
}
