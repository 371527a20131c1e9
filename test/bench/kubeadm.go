package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// What the peer kubernetes is configured with, and how the command lines are found in what kubeadm writes.

const (
	kubeadmFile = "/etc/kubernetes/kubeadm.yaml"
	nodeName    = "stock"
)

func kubeadmConfig(version, cgroup string) string {
	return fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: %[1]s}
nodeRegistration:
  name: %[2]s
  criSocket: unix://%[3]s
  kubeletExtraArgs: [{name: node-ip, value: %[1]s}]
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v%[4]s
networking: {podSubnet: 10.244.0.0/16}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupRoot: /%[5]s
cgroupDriver: cgroupfs
failCgroupV1: false
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
conntrack: {maxPerCore: 0}
`, nodeAddress, nodeName, containerdSocket, version, cgroup)
}

func containerdConfig(sandbox, plugins string) string {
	return fmt.Sprintf(`version = 4
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = %q
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = [%q]
`, sandbox, plugins)
}

// networkConfig has the first node's part of kubeadmConfig's podSubnet.
const networkConfig = `{
  "cniVersion": "1.0.0",
  "name": "containerd-net",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": true,
      "promiscMode": true,
      "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.244.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {
      "type": "portmap",
      "capabilities": {"portMappings": true},
      "externalSetMarkChain": "KUBE-MARK-MASQ"
    }
  ]
}
`

// commandLines runs inside the instance. It takes the manifests away: what is in them shall not run twice.
func commandLines() ([][]string, error) {
	var commands [][]string
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
		file := filepath.Join("/etc/kubernetes/manifests", name+".yaml")
		manifest, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		command, err := commandOfPod(manifest)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := os.Remove(file); err != nil {
			return nil, err
		}
		commands = append(commands, command)
	}
	flags, err := os.ReadFile("/var/lib/kubelet/kubeadm-flags.env")
	if err != nil {
		return nil, err
	}
	kubelet, err := commandOfKubelet(string(flags))
	if err != nil {
		return nil, err
	}
	// As in kubeadm's DaemonSet.
	proxy := []string{"kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "--hostname-override=" + nodeName}
	return append(commands, kubelet, proxy), nil
}

// commandOfPod is the command line in the manifest of a static pod.
func commandOfPod(manifest []byte) ([]string, error) {
	var pod struct {
		Spec struct {
			Containers []struct {
				Command []string `json:"command"`
			} `json:"containers"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(manifest, &pod); err != nil {
		return nil, err
	}
	if c := pod.Spec.Containers; len(c) != 1 || len(c[0].Command) == 0 {
		return nil, fmt.Errorf("want one container with a command, have %d", len(c))
	}
	return pod.Spec.Containers[0].Command, nil
}

// commandOfKubelet is that of the unit in upstream's package kubeadm, of which the flags are in a file of environment.
func commandOfKubelet(flags string) ([]string, error) {
	value, ok := strings.CutPrefix(strings.TrimSpace(flags), "KUBELET_KUBEADM_ARGS=")
	if !ok {
		return nil, fmt.Errorf("no KUBELET_KUBEADM_ARGS in %q", flags)
	}
	command := []string{
		"kubelet", "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
		"--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml",
	}
	return append(command, strings.Fields(strings.Trim(value, `"`))...), nil
}

// configOfProxy is what the ConfigMap among kubeadm's manifests of kube-proxy has.
func configOfProxy(manifests string) (string, error) {
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		var object struct {
			Kind string            `json:"kind"`
			Data map[string]string `json:"data"`
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return "", err
		}
		if config := object.Data["config.conf"]; object.Kind == "ConfigMap" && config != "" {
			return config, nil
		}
	}
	return "", fmt.Errorf("no ConfigMap with config.conf in:\n%s", manifests)
}
