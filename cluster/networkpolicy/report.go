package networkpolicy

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// reporter says in events of the policies when they are not enforced: nothing else would tell.
type reporter struct {
	client   kubernetes.Interface
	recorder record.EventRecorder // made when it is needed first
	last     string               // what was said; "" is that all is well
}

func newReporter(client kubernetes.Interface) *reporter { return &reporter{client: client} }

// report says what has changed since the last call.
func (r *reporter) report(ctx context.Context, policies []*networkingv1.NetworkPolicy, err error) {
	now := ""
	if err != nil {
		now = err.Error()
	}
	if now == r.last {
		return
	}
	r.last = now
	if r.recorder == nil {
		broadcaster := record.NewBroadcaster(record.WithContext(ctx))
		broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: r.client.CoreV1().Events("")})
		r.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "boxyard"})
	}
	for _, p := range policies {
		if err == nil {
			r.recorder.Event(p, corev1.EventTypeNormal, "Enforced", "The policy is enforced again")
		} else {
			r.recorder.Event(p, corev1.EventTypeWarning, "NotEnforced", "The policy is not enforced as it is written: "+now)
		}
	}
}
