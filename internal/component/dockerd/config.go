package dockerd

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	// Images are kept in CRI's containerd namespace, which is what makes Docker's images the kubelet's.
	imageNamespace = "k8s.io"
	// Plugins (docker plugin install) are containers that the kubelet must not meet.
	pluginNamespace = "boxyard-docker-plugins"
	// Upstream's shutdown-timeout, written down because the time we wait for the process depends on it.
	shutdownSeconds = 15
)

// daemonConfig is the part of moby's daemon/config.Config that is set here; what is absent has
// upstream's default.
type daemonConfig struct {
	DataRoot            string            `json:"data-root"`
	ExecRoot            string            `json:"exec-root"`
	Hosts               []string          `json:"hosts"`
	Group               string            `json:"group"`
	Containerd          string            `json:"containerd"`
	ContainerdNamespace string            `json:"containerd-namespace"`
	LiveRestore         bool              `json:"live-restore"`
	ShutdownTimeout     int               `json:"shutdown-timeout"`
	FirewallBackend     string            `json:"firewall-backend"`
	Bridge              string            `json:"bridge"`
	FixedCIDR           string            `json:"fixed-cidr"`
	IPv6                bool              `json:"ipv6,omitempty"`
	FixedCIDRv6         string            `json:"fixed-cidr-v6,omitempty"`
	AddressPools        []addressPool     `json:"default-address-pools"`
	DNS                 []string          `json:"dns,omitempty"`
	BridgeAcceptMark    string            `json:"bridge-accept-fwmark,omitempty"`
	UserlandProxy       bool              `json:"userland-proxy"`
	InitPath            string            `json:"init-path"`
	ExecOpts            []string          `json:"exec-opts"`
	CgroupParent        string            `json:"cgroup-parent"`
	MinAPIVersion       string            `json:"min-api-version"`
	Proxies             map[string]string `json:"proxies,omitempty"`
	InsecureRegistries  []string          `json:"insecure-registries,omitempty"`
	Builder             builder           `json:"builder"`
}

// builder sets the numbers of BuildKit's default policy.
type builder struct {
	GC struct {
		Enabled       bool   `json:"enabled"`
		ReservedSpace string `json:"defaultReservedSpace"`
		MaxUsedSpace  string `json:"defaultMaxUsedSpace"`
		MinFreeSpace  string `json:"defaultMinFreeSpace"`
	} `json:"gc"`
}

func (c BuildCache) builder() builder {
	var b builder
	b.GC.Enabled = true
	b.GC.ReservedSpace = strconv.FormatInt(c.ReservedBytes, 10) + "b"
	b.GC.MaxUsedSpace = strconv.FormatInt(c.MaxBytes, 10) + "b"
	b.GC.MinFreeSpace = strconv.FormatInt(c.MinFreeBytes, 10) + "b"
	return b
}

type addressPool struct {
	Base string `json:"base"`
	Size int    `json:"size"`
}

// daemonJSON builds daemon.json. liveRestore is true whenever dockerd starts: a dockerd that
// starts without it and with address pools of its own deletes the interface docker0, which belongs to
// another Docker (moby daemon/daemon_unix.go, configureNetworking).
func daemonJSON(o Options, liveRestore bool, insecure []string) ([]byte, error) {
	c := daemonConfig{
		DataRoot:            o.Layout.DataOf("docker"),
		ExecRoot:            o.Layout.RunOf(name),
		Hosts:               []string{"unix://" + o.Layout.DockerSocket()},
		Group:               strconv.Itoa(o.GID),
		Containerd:          o.Layout.ContainerdSocket(),
		ContainerdNamespace: imageNamespace,
		LiveRestore:         liveRestore,
		ShutdownTimeout:     shutdownSeconds,
		FirewallBackend:     "nftables",
		Bridge:              o.Bridge,
		FixedCIDR:           o.CIDR.Masked().String(),
		AddressPools:        []addressPool{{Base: o.Pool.String(), Size: poolBits(o)}},
		UserlandProxy:       false, // ADR 0010: docker-proxy dies with dockerd, and 127.0.0.1:PORT with it
		InitPath:            filepath.Join(o.Payload, "docker-init"),
		ExecOpts:            []string{"native.cgroupdriver=" + o.CgroupDriver},
		CgroupParent:        cgroupParent(o.CgroupRoot, o.CgroupDriver),
		MinAPIVersion:       "1.24", // the lowest that moby allows; its default of 1.40 shuts old clients out
		Proxies:             proxies(o),
		InsecureRegistries:  insecure,
		Builder:             o.BuildCache.builder(),
	}
	for _, a := range o.DNS {
		c.DNS = append(c.DNS, a.String())
	}
	if o.PodMark != 0 {
		c.BridgeAcceptMark = fmt.Sprintf("%#x/%#x", o.PodMark, o.PodMark)
	}
	if o.CIDR6.IsValid() {
		c.IPv6 = true
		c.FixedCIDRv6 = o.CIDR6.Masked().String()
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode daemon.json: %w", err)
	}
	return append(b, '\n'), nil
}

// arguments are what daemon.json cannot say.
func arguments(o Options) []string {
	return []string{
		"--config-file", configFile(o),
		// In a file this key has another name than its flag, and dockerd refuses it (moby
		// daemon/config/config.go: containerd-plugin-namespace; daemon/command/config.go: containerd-plugins-namespace).
		"--containerd-plugins-namespace", pluginNamespace,
		// None: after a crash dockerd refuses to start when the number in the file is any live
		// process by then (moby pkg/pidfile). The pid is kept by package process, with the process's start time.
		"--pidfile", "",
	}
}

// poolBits is the size of a user-defined network: /24, or smaller where the pool itself is.
func poolBits(o Options) int { return max(24, o.Pool.Bits()) }

// cgroupParent is the cgroup of all containers. Under systemd a slice's name holds its path: a-b.slice lies in a.slice.
func cgroupParent(root, driver string) string {
	root = strings.Trim(root, "/")
	if driver == "systemd" {
		return strings.ReplaceAll(root, "/", "-") + "-docker.slice"
	}
	return "/" + root + "/docker"
}

func proxies(o Options) map[string]string {
	p := map[string]string{}
	for key, value := range map[string]string{
		"http-proxy": o.Proxy.HTTP, "https-proxy": o.Proxy.HTTPS, "no-proxy": o.Proxy.NoProxy,
	} {
		if value != "" {
			p[key] = value
		}
	}
	return p
}

func configFile(o Options) string { return filepath.Join(o.Layout.RunOf(name), "daemon.json") }
