package loadbalancer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

const patchType = types.StrategicMergePatchType

func patchOptions() metav1.PatchOptions {
	return metav1.PatchOptions{FieldManager: "boxyard-load-balancer"}
}

// setStatus writes what upstream's clouds write. The mode VIP makes kube-proxy serve the address
// on this node.
func setStatus(status *corev1.ServiceStatus, ports []corev1.ServicePort, addresses []netip.Addr, refused *refusal) {
	status.LoadBalancer.Ingress = nil
	for _, a := range addresses {
		status.LoadBalancer.Ingress = append(status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{
			IP: a.String(), IPMode: new(corev1.LoadBalancerIPModeVIP), Ports: portStatuses(ports),
		})
	}
	if refused == nil || !refused.ports {
		meta.RemoveStatusCondition(&status.Conditions, corev1.LoadBalancerPortsError)
		return
	}
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: corev1.LoadBalancerPortsError, Status: metav1.ConditionTrue, Reason: refused.reason, Message: refused.message,
	})
}

func portStatuses(ports []corev1.ServicePort) []corev1.PortStatus {
	list := make([]corev1.PortStatus, len(ports))
	for i, p := range ports {
		list[i] = corev1.PortStatus{Port: p.Port, Protocol: p.Protocol}
	}
	return list
}

// statusPatch changes finalizers and status in one request, as upstream's service controller does
// (k8s.io/cloud-provider/service/helpers); nil when nothing differs. The patch names the UID: it is
// not for a Service of the same name that came after.
func statusPatch(from, to *corev1.Service) ([]byte, error) {
	before, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("encode service: %w", err)
	}
	after, err := json.Marshal(to)
	if err != nil {
		return nil, fmt.Errorf("encode service: %w", err)
	}
	if bytes.Equal(before, after) {
		return nil, nil
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Service{})
	if err != nil {
		return nil, fmt.Errorf("make a patch: %w", err)
	}
	var content map[string]any
	if err := json.Unmarshal(patch, &content); err != nil {
		return nil, fmt.Errorf("make a patch: %w", err)
	}
	metadata, ok := content["metadata"].(map[string]any)
	if !ok {
		metadata = map[string]any{}
		content["metadata"] = metadata
	}
	metadata["uid"] = string(from.UID)
	return json.Marshal(content)
}
