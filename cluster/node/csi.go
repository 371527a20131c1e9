package node

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubernetes/pkg/volume"
	"k8s.io/kubernetes/pkg/volume/csi"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

// ClaimCSI makes the kubelet the owner of the process's CSI state, and waits until its CSINode object is there or ctx is
// done. Upstream keeps the writer of that object in a package variable (pkg/volume/csi/csi_plugin.go), which whoever
// initializes the plugin last sets: the kubelet, and in kube-controller-manager the attach-detach and the expand
// controller, which know of no node. After those the kubelet could register no CSI driver, and with bad luck not even
// itself, so ClaimCSI must follow them. It does not matter whether the kubelet has begun.
func ClaimCSI(ctx context.Context, c config.Cluster) error {
	identity, err := clientcmd.BuildConfigFromFlags("", c.PKI("kubelet-client.kubeconfig"))
	if err != nil {
		return fmt.Errorf("client for CSI: %w", err)
	}
	client, err := kubernetes.NewForConfig(identity)
	if err != nil {
		return fmt.Errorf("client for CSI: %w", err)
	}
	return claimCSI(ctx, types.NodeName(c.NodeName), client)
}

func claimCSI(ctx context.Context, name types.NodeName, client kubernetes.Interface) error {
	if err := initCSI(name, client); err != nil {
		return err
	}
	// The new writer learns from the Node, which the kubelet may still have to register, whose CSINode it writes.
	for csi.GetNodeInfoManager().InitializeCSINodeWithAnnotation() != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(250 * time.Millisecond):
		}
	}
	return nil
}

func initCSI(name types.NodeName, client kubernetes.Interface) error {
	for _, plugin := range csi.ProbeVolumePlugins() {
		if err := plugin.Init(csiHost{name: name, client: client}); err != nil {
			return fmt.Errorf("initialize CSI: %w", err)
		}
	}
	return nil
}

// csiHost has the two methods that the writer of CSINode uses. It must not be a volume.KubeletVolumeHost: the plugin
// would make the node wait for an initialization of its own.
type csiHost struct {
	volume.VolumeHost
	name   types.NodeName
	client kubernetes.Interface
}

func (h csiHost) GetNodeName() types.NodeName         { return h.name }
func (h csiHost) GetKubeClient() kubernetes.Interface { return h.client }
