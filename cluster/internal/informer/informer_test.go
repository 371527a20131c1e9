package informer

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSignalsThatNobodyTookAreOne(t *testing.T) {
	s := NewSignal()
	s.Notify()
	s.Notify()
	<-s
	select {
	case <-s:
		t.Error("two signals")
	default:
	}
}

func TestWithoutManagedFields(t *testing.T) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}}}
	for _, object := range []any{service, "no object of the API"} {
		if got, err := WithoutManagedFields(object); err != nil || got != object {
			t.Errorf("%v: %v, %v", object, got, err)
		}
	}
	if service.ManagedFields != nil || service.Name != "web" {
		t.Errorf("left: %+v", service.ObjectMeta)
	}
}
