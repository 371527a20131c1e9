package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/validation"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	utilfs "k8s.io/kubernetes/pkg/util/filesystem"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/tlsconfig"
)

// maxPods is how many pods may be on the node, where upstream has 110: it is the only one. Its range has room for twice
// as many.
const maxPods = 500

// podPids is how many processes and threads a pod may have.
const podPids = 8192

// kubeletConfiguration names what differs from upstream's defaults, which stay on for everything else:
// eviction, local-storage isolation, probes and cgroup enforcement among them.
func kubeletConfiguration(c config.Cluster) *kubeletv1beta1.KubeletConfiguration {
	return &kubeletv1beta1.KubeletConfiguration{
		FeatureGates:             kubeletFeatures(c),
		TypeMeta:                 metav1.TypeMeta{Kind: "KubeletConfiguration", APIVersion: kubeletv1beta1.SchemeGroupVersion.String()},
		Address:                  c.NodeIPs[0],
		HealthzBindAddress:       "127.0.0.1",
		TLSCertFile:              c.PKI("kubelet.crt"),
		TLSPrivateKeyFile:        c.PKI("kubelet.key"),
		TLSCipherSuites:          tlsconfig.CipherSuites(),
		ContainerRuntimeEndpoint: "unix://" + c.CRISocket,
		CgroupDriver:             c.CgroupDriver,
		CgroupRoot:               c.CgroupRoot,
		ClusterDNS:               c.ClusterDNS,
		ClusterDomain:            "cluster.local",
		ResolverConfig:           new(resolvConf(c)),
		// Cgroup v1 is deprecated upstream and refused by default, but half of the machines that we
		// are asked to run on have it.
		FailCgroupV1: new(false),
		FailSwapOn:   new(false),
		// Without a taint or a second node there is no one to wait for.
		RegisterNode:           new(true),
		SeccompDefault:         new(true),
		EnableProfilingHandler: new(false),
		// One pod that forks without end must not take the machine's process numbers with it. Servers with many
		// threads stay far below.
		PodPidsLimit:        new(int64(podPids)),
		MaxPods:             maxPods,
		SerializeImagePulls: new(false),
		// Kubernetes pulls a tag like `latest` for each pod. For images that were made here that asks only ourselves;
		// upstream's five a second would make the eleventh of many pods wait for ten seconds and more. A registry has
		// limits of its own, and the kubelet waits longer after each refusal.
		RegistryPullQPS: new(int32(0)),
		// As for the controllers: the API has its own limits and queues.
		KubeAPIQPS:            new(int32(200)),
		KubeAPIBurst:          400,
		MaxParallelImagePulls: new(int32(4)),
		// The same limit as that of builds' caches.
		ImageGCHighThresholdPercent: new(int32(c.DiskLimitPercent)),
		ImageGCLowThresholdPercent:  new(int32(c.DiskFloorPercent())),
		MakeIPTablesUtilChains:      new(false), // kube-proxy runs in nftables mode
		VolumePluginDir:             filepath.Join(c.DataDir, "volume-plugins"),
		Authentication: kubeletv1beta1.KubeletAuthentication{
			Anonymous: kubeletv1beta1.KubeletAnonymousAuthentication{Enabled: new(false)},
			Webhook:   kubeletv1beta1.KubeletWebhookAuthentication{Enabled: new(true)},
			X509:      kubeletv1beta1.KubeletX509Authentication{ClientCAFile: c.PKI("ca.crt")},
		},
		Authorization: kubeletv1beta1.KubeletAuthorization{Mode: kubeletv1beta1.KubeletAuthorizationModeWebhook},
	}
}

// kubeletFeatures: containerd's events only make the kubelet look at once. What it finds counts, and it looks every second
// as before (kubernetes pkg/kubelet/pleg/evented.go); upstream calls that alpha for what it once was.
func kubeletFeatures(c config.Cluster) map[string]bool {
	return map[string]bool{"EventedPLEG": c.Fast(config.FastEvents)}
}

// RunKubelet returns when the kubelet has ended. The API and the CRI must answer before it starts: the
// kubelet ends the whole process when it cannot reach its container runtime (pkg/kubelet/kubelet.go).
func RunKubelet(ctx context.Context, c config.Cluster) error {
	if err := os.MkdirAll(filepath.Join(c.DataDir, "volume-plugins"), 0o755); err != nil {
		return err
	}
	data, err := yaml.Marshal(kubeletConfiguration(c))
	if err != nil {
		return err
	}
	file := c.Run("kubelet.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	loader, err := configfiles.NewFsLoader(&utilfs.DefaultFs{}, file)
	if err != nil {
		return err
	}
	configuration, err := loader.Load(ctx)
	if err != nil {
		return fmt.Errorf("kubelet configuration: %w", err)
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(configuration.FeatureGates); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(&configuration.Logging, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	if err := validation.ValidateKubeletConfiguration(configuration, utilfeature.DefaultFeatureGate); err != nil {
		return fmt.Errorf("kubelet configuration: %w", err)
	}
	server := &options.KubeletServer{KubeletFlags: *options.NewKubeletFlags(), KubeletConfiguration: *configuration}
	server.KubeConfig = c.PKI("kubelet-client.kubeconfig")
	server.HostnameOverride = c.NodeName
	server.NodeIP = strings.Join(c.NodeIPs, ",")
	server.RootDirectory = c.KubeletDir
	server.CertDirectory = filepath.Join(c.KubeletDir, "pki")
	deps, err := app.UnsecuredDependencies(ctx, server, utilfeature.DefaultFeatureGate)
	if err != nil {
		return fmt.Errorf("prepare the kubelet: %w", err)
	}
	if c.Fast(config.FastVolumes) {
		deps.Options = append(deps.Options, withPromptVolumes)
	}
	if c.Fast(config.FastProbes) {
		deps.Options = append(deps.Options, withPromptProbes)
	}
	if err := app.Run(ctx, server, deps, utilfeature.DefaultFeatureGate); err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	return nil
}
