package containerd

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"text/template"
)

//go:embed config.toml.tmpl
var configTemplate string

// NetworkName is the CNI network of the pods. libcni names its cached results after it.
const NetworkName = "boxyard"

// settings is what config.toml.tmpl is filled with.
type settings struct {
	Root, State, Temp string
	Socket, TTRPC     string
	ShimSockets       string
	PauseImage        string
	Certs             string
	CNIBin, CNIConf   string
	Shim, Runc        string
	RuncRoot          string
	SystemdCgroup     bool
	RestrictOOM       bool
	NoSync            bool
	SharedShim        bool
	OOMScore          int
	Disabled          []string
}

// configTOML builds containerd's configuration, version 4 of its format. What is not
// mentioned has upstream's default (`containerd config default`).
func configTOML(o Options) ([]byte, error) {
	s := settings{
		Root:  o.Layout.DataOf(name),
		State: o.Layout.RunOf(name),
		// In memory: runc's command of an exec is a file there, and on a full disk people want to look around.
		Temp:          filepath.Join(o.Layout.RunOf(name), "tmp"),
		Socket:        o.Layout.ContainerdSocket(),
		TTRPC:         o.Layout.ContainerdSocket() + ".ttrpc",
		ShimSockets:   shimSockets(o),
		PauseImage:    o.PauseImage,
		Certs:         o.Registries,
		CNIBin:        filepath.Join(o.Payload, "cni"),
		CNIConf:       cniDir(o),
		Shim:          filepath.Join(o.Payload, "containerd-shim-runc-v2"),
		Runc:          filepath.Join(o.Payload, "runc"),
		RuncRoot:      filepath.Join(o.Layout.RunOf(name), "runc"),
		SystemdCgroup: o.CgroupDriver == "systemd",
		RestrictOOM:   !o.CapResource,
		NoSync:        o.Ephemeral,
		SharedShim:    !o.ManyShims,
		Disabled:      disabledPlugins(),
	}
	if o.CapResource {
		// As upstream's containerd.service has it; lowering the score needs CAP_SYS_RESOURCE.
		s.OOMScore = -999
	}
	t, err := template.New("config.toml").Funcs(template.FuncMap{"q": strconv.Quote}).Parse(configTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the template of config.toml: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, s); err != nil {
		return nil, fmt.Errorf("fill the template of config.toml: %w", err)
	}
	return b.Bytes(), nil
}

func disabledPlugins() []string {
	return []string{
		"io.containerd.snapshotter.v1.blockfile",
		"io.containerd.snapshotter.v1.devmapper",
		"io.containerd.snapshotter.v1.erofs",
		"io.containerd.snapshotter.v1.native",
		"io.containerd.snapshotter.v1.zfs",
		"io.containerd.differ.v1.erofs",
		"io.containerd.mount-handler.v1.erofs",
		"io.containerd.image-verifier.v1.bindir",     // runs programs from /opt/containerd/image-verifier/bin
		"io.containerd.internal.v1.opt",              // makes /opt/containerd and puts it first in PATH
		"io.containerd.nri.v1.nri",                   // listens on /var/run/nri/nri.sock, runs /opt/nri/plugins
		"io.containerd.monitor.container.v1.restart", // restarts by a label of `nerdctl`; Docker and the kubelet do it here
		"io.containerd.internal.v1.tracing",
		"io.containerd.tracing.processor.v1.otlp",
	}
}

// cniList builds the network of the pods. The bridge and its addresses are made by the component network before.
func cniList(o Options) ([]byte, error) {
	plugins := []map[string]any{podnet(o)}
	if o.PlainCNI {
		plugins = []map[string]any{bridge(o), portMap()}
	}
	b, err := json.MarshalIndent(map[string]any{"cniVersion": "1.0.0", "name": NetworkName, "plugins": plugins}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the CNI configuration: %w", err)
	}
	return append(b, '\n'), nil
}

// podnet is our own plugin (runtime/podnet). It calls portmap for pods that have host ports.
func podnet(o Options) map[string]any {
	return map[string]any{
		"type": "podnet", "bridge": o.Bridge, "ipam": hostLocal(o),
		"capabilities": map[string]bool{"portMappings": true},
		"portMap":      portMap(),
	}
}

// bridge is upstream's. isGateway tells it to take the bridge's address as the pods' gateway.
func bridge(o Options) map[string]any {
	return map[string]any{
		"type":        "bridge",
		"bridge":      o.Bridge,
		"isGateway":   true,
		"ipMasq":      false, // the nft table inet boxyard does it for all pods at once
		"hairpinMode": true,  // a pod reaches itself through its own Service
		"ipam":        hostLocal(o),
	}
}

func portMap() map[string]any {
	return map[string]any{
		"type":         "portmap",
		"backend":      "nftables", // it would take iptables wherever that is installed
		"snat":         true,
		"capabilities": map[string]bool{"portMappings": true},
	}
}

func hostLocal(o Options) map[string]any {
	ranges := make([][]map[string]string, 0, len(o.PodCIDRs))
	routes := make([]map[string]string, 0, len(o.PodCIDRs))
	for _, c := range o.PodCIDRs {
		ranges = append(ranges, []map[string]string{{"subnet": c.String()}})
		dst := "0.0.0.0/0"
		if c.Addr().Is6() {
			dst = "::/0"
		}
		routes = append(routes, map[string]string{"dst": dst})
	}
	return map[string]any{"type": "host-local", "dataDir": ipamDir(o), "ranges": ranges, "routes": routes}
}

// ipamDir holds the addresses in use, one file each. It lies in the runtime directory because
// an address is held by a network namespace, and both must end with a reboot: kept on disk, an
// address whose pod containerd has forgotten would be taken for ever.
func ipamDir(o Options) string { return filepath.Join(o.Layout.RunOf("cni"), "networks") }

// Outside are the files that containerd keeps outside the layout because a path is a constant of
// upstream, as patterns of filepath.Match. Reset removes them; the directories only when they are empty.
func Outside() (files, dirs []string) {
	// libcni's CacheDir (containernetworking/cni libcni/api.go), which go-cni does not let be set.
	return []string{"/var/lib/cni/results/" + NetworkName + "-*"}, []string{"/var/lib/cni/results", "/var/lib/cni"}
}

// NFTTables are the nft tables of the CNI plugin portmap, by family and name. Another CNI on the host may use
// them too: reset deletes one only when no rule of its chain hostports leads outside our pod ranges.
func NFTTables() [][2]string {
	return [][2]string{{"ip", "cni_hostport"}, {"ip6", "cni_hostport"}}
}

func cniDir(o Options) string      { return filepath.Join(o.Layout.RunOf(name), "cni") }
func shimSockets(o Options) string { return filepath.Join(o.Layout.RunOf(name), "s") }
func configFile(o Options) string  { return filepath.Join(o.Layout.RunOf(name), "config.toml") }
