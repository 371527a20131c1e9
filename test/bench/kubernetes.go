package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/vishvananda/netlink"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/boxyard/boxyard/internal/cgroup"
	"github.com/boxyard/boxyard/internal/disk"
	"github.com/boxyard/boxyard/internal/workload"
	"github.com/boxyard/boxyard/test/harness"
)

// stock is Kubernetes as its upstream publishes it: each component a process of its own, set up by kubeadm, which
// makes certificates, kubeconfigs, and the manifests and files from which each component's command line is taken;
// containerd with its default configuration; the CNI plugins bridge, host-local and portmap with the configuration of
// Kubernetes' documentation (Troubleshooting CNI plugin-related errors), of one address family as is kubeadm's
// default. What is set here and is not upstream's default:
//
//   - the cgroup root, so that nothing is left behind on the machine, and the cgroup driver that containerd has by
//     default, because no systemd runs here;
//   - failCgroupV1, because the machine's cgroups may be of version 1;
//   - kube-proxy's limit of connection tracking, which a network namespace of its own cannot set;
//   - containerd's restrict_oom_score_adj, because of a machine without CAP_SYS_RESOURCE;
//   - the node's address, which is one of lo: there is no other network;
//   - the images: they are imported, that of the sandbox is ours, and pods do not pull theirs, because there is no
//     registry. A pull of an image that is there already would cost this peer more;
//   - the control plane has no pods of its own: they would need images and do the same. So the kubelet has no
//     manifests, and kube-proxy has a client certificate in place of a service account's token;
//   - no taint of the control plane, as on any cluster of one node, and no CoreDNS, which starts no pod.
type stock struct {
	*subject
	payload string // the directory of Boxyard's payload
	own     string // that of the components
}

const (
	nodeAddress      = "192.0.2.1" // of TEST-NET-1 (RFC 5737)
	containerdSocket = "/run/containerd/containerd.sock"
)

// freeDisk is the share of the disk below which its kubelet takes no pods (imagefs.available of the kubelet's defaults).
const freeDisk = 0.15

func newKubernetes(ctx context.Context, repo string) (*subject, error) {
	total, free, err := disk.Size(peersDir)
	if err != nil {
		return nil, err
	}
	if share := float64(free) / float64(total); share < freeDisk {
		return nil, fmt.Errorf("%.0f %% of the disk of %s are free: stock Kubernetes takes no pods below %.0f %%; make room, or measure other groups with ONLY",
			100*share, peersDir, 100*freeDisk)
	}
	build := filepath.Join(repo, "build")
	k := stock{payload: filepath.Join(build, "payload"), own: filepath.Join(build, "bench", "kubernetes")}
	s, err := peer{
		name: kubernetes, root: filepath.Join(build, "bench", "iptables"), path: k.payload,
		storage: []string{"/var/lib/containerd", "/var/lib/etcd"},
		version: []string{filepath.Join(k.own, "kubelet"), "--version"},
	}.start(ctx)
	if err != nil {
		return nil, err
	}
	s.pull = "IfNotPresent"
	s.api, s.drain = s.administrator, s.waitForShims
	k.subject = s
	if err := k.up(ctx, filepath.Join(build, "upstream.env")); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", s.name, err), s.close())
	}
	return s, nil
}

// administrator is the one in the group system:masters, as Boxyard's is.
func (s *subject) administrator(context.Context) (*harness.API, error) {
	var config []byte
	err := s.in.Inside(func() (err error) {
		config, err = os.ReadFile("/etc/kubernetes/super-admin.conf")
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.in.APIOf(config)
}

// waitForShims: a pod is gone from the API before its sandbox is from the machine.
func (s *subject) waitForShims() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return every(ctx, 100*time.Millisecond, func(context.Context) error {
		processes, err := s.in.Processes()
		for _, p := range processes {
			if p.Name == "containerd-shim-runc-v2" {
				return fmt.Errorf("%v has not ended", p)
			}
		}
		return err
	})
}

func (k stock) up(ctx context.Context, versions string) error {
	if err := k.prepare(ctx, versions); err != nil {
		return err
	}
	if err := k.serve(ctx, filepath.Join(k.payload, "containerd")); err != nil {
		return err
	}
	if err := k.importImages(ctx, filepath.Join(k.payload, "images.tar")); err != nil {
		return err
	}
	commands, err := k.kubeadm(ctx)
	if err != nil {
		return err
	}
	for _, command := range commands {
		command[0] = filepath.Join(k.own, filepath.Base(command[0]))
		if err := k.serve(ctx, command...); err != nil {
			return err
		}
	}
	return k.answers(ctx, time.Minute, k.ready)
}

// prepare makes the cgroup, the node's address and the files of configuration.
func (k stock) prepare(ctx context.Context, versions string) error {
	mounts, err := workload.CgroupMounts()
	if err != nil {
		return err
	}
	if err := (cgroup.Root{Name: k.in.Cgroup, Mounts: mounts}).Ensure(ctx); err != nil {
		return err
	}
	pause, err := field(versions, "pause", "=")
	if err != nil {
		return err
	}
	version, err := field(versions, "kubernetes", "=")
	if err != nil {
		return err
	}
	for path, content := range map[string]string{
		"/etc/containerd/config.toml":       containerdConfig("docker.io/boxyard/pause:"+pause, filepath.Join(k.own, "cni")),
		"/etc/cni/net.d/10-bridge.conflist": networkConfig,
		kubeadmFile:                         kubeadmConfig(version, k.in.Cgroup),
	} {
		if err := k.write(filepath.Dir(path), map[string]string{filepath.Base(path): content}); err != nil {
			return err
		}
	}
	return k.in.Inside(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(nodeAddress + "/32")
		if err != nil {
			return err
		}
		return netlink.AddrAdd(lo, address)
	})
}

// importImages waits for containerd and gives CRI the images of an archive.
func (k stock) importImages(ctx context.Context, archive string) (err error) {
	conn, err := grpc.NewClient("passthrough:///"+containerdSocket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, path string) (net.Conn, error) { return k.in.Dial(ctx, "unix", path) }))
	if err != nil {
		return err
	}
	c, err := client.NewWithConn(conn)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ctx = namespaces.WithNamespace(ctx, "k8s.io")
	err = k.answers(ctx, 30*time.Second, func(ctx context.Context) error {
		_, err := c.Version(ctx)
		return err
	})
	if err != nil {
		return err
	}
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	imported, err := c.Import(ctx, file)
	if err != nil {
		return err
	}
	for _, image := range imported {
		if err := client.NewImage(c, image).Unpack(ctx, ""); err != nil {
			return fmt.Errorf("unpack image %s: %w", image.Name, err)
		}
	}
	return nil
}

// kubeadm does what `kubeadm init` does before it starts the kubelet, and gives the command lines of all components in
// the order in which they start.
func (k stock) kubeadm(ctx context.Context) ([][]string, error) {
	program := filepath.Join(k.own, "kubeadm")
	for _, phase := range []string{"certs all", "kubeconfig all", "etcd local", "control-plane all", "kubelet-start"} {
		args := append([]string{program, "init", "phase"}, strings.Fields(phase)...)
		if _, err := k.run(ctx, append(args, "--config", kubeadmFile)...); err != nil {
			return nil, err
		}
	}
	proxy, err := k.run(ctx, program, "init", "phase", "addon", "kube-proxy", "--config", kubeadmFile, "--print-manifest")
	if err != nil {
		return nil, err
	}
	proxyConfig, err := configOfProxy(proxy.Stdout)
	if err != nil {
		return nil, err
	}
	user, err := k.run(ctx, program, "kubeconfig", "user", "--config", kubeadmFile, "--client-name", "system:kube-proxy")
	if err != nil {
		return nil, err
	}
	err = k.write("/var/lib/kube-proxy", map[string]string{"config.conf": proxyConfig, "kubeconfig.conf": user.Stdout})
	if err != nil {
		return nil, err
	}
	var commands [][]string
	err = k.in.Inside(func() (err error) {
		commands, err = commandLines()
		return err
	})
	return commands, err
}

// ready is nil when a pod can be created and the node takes it.
func (k stock) ready(ctx context.Context) error {
	api, err := kubeOf(ctx, k.subject)
	if err != nil {
		return err
	}
	defer api.api.Close()
	if _, err := api.do(ctx, http.MethodGet, "/api/v1/namespaces/default/serviceaccounts/default", nil); err != nil {
		return err
	}
	answer, err := api.do(ctx, http.MethodGet, "/api/v1/nodes/"+nodeName, nil)
	if err != nil {
		return err
	}
	var node pod // a node has conditions as a pod has
	if err := json.Unmarshal(answer, &node); err != nil {
		return err
	}
	if !node.ready() {
		return fmt.Errorf("the node is not Ready: %+v", node.Status)
	}
	return nil
}
