package node

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	csispec "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/kubernetes/pkg/volume/csi"
)

// driver is a CSI driver that says which node it is on.
type driver struct {
	csispec.UnimplementedNodeServer
}

func (driver) NodeGetInfo(context.Context, *csispec.NodeGetInfoRequest) (*csispec.NodeGetInfoResponse, error) {
	return &csispec.NodeGetInfoResponse{NodeId: "n-1"}, nil
}

// TestClaimCSI registers a driver after kube-controller-manager has initialized the plugin of the process.
func TestClaimCSI(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "csi.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	csispec.RegisterNodeServer(server, driver{})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	client := fake.NewClientset()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := initCSI("box", client); err != nil { // as the kubelet does
		t.Fatal(err)
	}
	if err := initCSI("", client); err != nil { // as the attach-detach controller does
		t.Fatal(err)
	}
	go func() {
		time.Sleep(200 * time.Millisecond)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "box", UID: "a-node"}}
		_, _ = client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	}()
	if err := claimCSI(ctx, "box", client); err != nil {
		t.Fatal(err)
	}
	if err := csi.PluginHandler.RegisterPlugin(ctx, "a.driver", socket, []string{"1.0.0"}, nil); err != nil {
		t.Fatal(err)
	}
	defer csi.PluginHandler.DeRegisterPlugin(context.Background(), "a.driver", socket)
	registered, err := client.StorageV1().CSINodes().Get(ctx, "box", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if owners := registered.OwnerReferences; len(owners) != 1 || owners[0].UID != "a-node" {
		t.Errorf("owners: %+v", owners)
	}
	if drivers := registered.Spec.Drivers; len(drivers) != 1 || drivers[0].Name != "a.driver" || drivers[0].NodeID != "n-1" {
		t.Errorf("drivers: %+v", drivers)
	}
}
