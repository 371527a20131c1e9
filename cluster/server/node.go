package server

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/boxyard/boxyard/cluster/node"
)

// roleLabel is what `kubectl get nodes` shows as the role. A kubelet may not give it to itself (the admission
// plugin NodeRestriction).
const roleLabel = "node-role.kubernetes.io/control-plane"

// watchNode follows our Node object for as long as ctx lives: what it waits for is on the board.
func (s *server) watchNode(ctx context.Context, client kubernetes.Interface) error {
	name := s.config.NodeName
	s.board.Wait(partNode, "node "+name+" to register")
	s.board.Wait(partProxy, "node "+name+" to register")
	selector := fields.OneTermEqualSelector(metav1.ObjectNameField, name)
	registered := false
	seen := func(object any) {
		n, ok := object.(*corev1.Node)
		if !ok {
			return
		}
		if !registered && len(n.Status.Addresses) > 0 {
			registered = true
			s.startProxy(client)
		}
		s.noteNode(n)
		if _, labeled := n.Labels[roleLabel]; !labeled {
			go s.label(ctx, client)
		}
	}
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(client.CoreV1().RESTClient(), "nodes", metav1.NamespaceAll, selector),
		ObjectType:    &corev1.Node{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    seen,
			UpdateFunc: func(_, object any) { seen(object) },
			DeleteFunc: func(any) { s.board.Wait(partNode, "node "+name+" to register again; it was deleted") },
		},
	})
	controller.RunWithContext(ctx)
	return nil
}

// startProxy is called when the node has addresses because kube-proxy would look for them only once a second
// (k8s.io/kubernetes/pkg/proxy/node.go). So it would if it were not allowed to yet.
func (s *server) startProxy(client kubernetes.Interface) {
	s.board.Wait(partProxy, "its role")
	s.clients.start(partProxy, func(ctx context.Context) error {
		if s.checks.until(ctx, func(ctx context.Context) error { return s.checks.proxyAllowed(ctx, client) }, func(err error) {
			s.board.Wait(partProxy, "its role ("+err.Error()+")")
		}) != nil {
			return nil // only a stop ends it
		}
		s.probe(partProxy, s.checks.proxy)
		return node.RunProxy(ctx, s.config)
	})
}

func (s *server) noteNode(n *corev1.Node) {
	for _, condition := range n.Status.Conditions {
		if condition.Type != corev1.NodeReady {
			continue
		}
		if condition.Status == corev1.ConditionTrue {
			if !s.board.IsReady(partNode) {
				s.ready(partNode)
			}
			return
		}
		s.board.Wait(partNode, fmt.Sprintf("node %s to be Ready (%s)", n.Name, condition.Message))
		return
	}
	s.board.Wait(partNode, fmt.Sprintf("node %s to be Ready (no report of the kubelet yet)", n.Name))
}

func (s *server) label(ctx context.Context, client kubernetes.Interface) {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{roleLabel: ""}}})
	if err == nil {
		_, err = client.CoreV1().Nodes().Patch(ctx, s.config.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil && ctx.Err() == nil {
		klog.ErrorS(err, "Label the node with its role", "node", s.config.NodeName)
	}
}
