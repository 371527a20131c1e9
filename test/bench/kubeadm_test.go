package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestCommandOfPod(t *testing.T) {
	got, err := commandOfPod([]byte(`apiVersion: v1
kind: Pod
metadata: {name: etcd}
spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    image: registry.k8s.io/etcd
`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"etcd", "--data-dir=/var/lib/etcd"}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := commandOfPod([]byte("spec: {containers: [{name: etcd}]}")); err == nil {
		t.Errorf("a command from a manifest without one: %q", got)
	}
}

func TestCommandOfKubelet(t *testing.T) {
	got, err := commandOfKubelet(`KUBELET_KUBEADM_ARGS="--hostname-override=stock --node-ip=192.0.2.1"` + "\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"kubelet", "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
		"--kubeconfig=/etc/kubernetes/kubelet.conf", "--config=/var/lib/kubelet/config.yaml",
		"--hostname-override=stock", "--node-ip=192.0.2.1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := commandOfKubelet("OTHER=x"); err == nil {
		t.Errorf("a command from a file without flags: %q", got)
	}
}

func TestConfigOfProxy(t *testing.T) {
	const manifests = "---\napiVersion: v1\nkind: ServiceAccount\n" +
		"---\napiVersion: v1\nkind: ConfigMap\ndata:\n  config.conf: |-\n    mode: iptables\n    kind: KubeProxyConfiguration\n  kubeconfig.conf: x\n" +
		"---\napiVersion: apps/v1\nkind: DaemonSet\n"
	got, err := configOfProxy(manifests)
	if want := "mode: iptables\nkind: KubeProxyConfiguration"; err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, err := configOfProxy("kind: DaemonSet\n"); err == nil {
		t.Errorf("a configuration from manifests without one: %q", got)
	}
}

func TestKubeadmConfig(t *testing.T) {
	var kinds []string
	for document := range strings.SplitSeq(kubeadmConfig("1.2.3", "some-cgroup"), "---\n") {
		var object struct{ Kind, KubernetesVersion, CgroupRoot string }
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if object.Kind == "ClusterConfiguration" && object.KubernetesVersion != "v1.2.3" {
			t.Errorf("kubernetesVersion %q", object.KubernetesVersion)
		}
		if object.Kind == "KubeletConfiguration" && object.CgroupRoot != "/some-cgroup" {
			t.Errorf("cgroupRoot %q", object.CgroupRoot)
		}
		kinds = append(kinds, object.Kind)
	}
	want := []string{"InitConfiguration", "ClusterConfiguration", "KubeletConfiguration", "KubeProxyConfiguration"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
}
