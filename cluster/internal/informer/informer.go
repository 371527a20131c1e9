// Package informer is what our controllers share in how they follow objects of the
// API. It knows none of them.
package informer

import (
	"k8s.io/apimachinery/pkg/api/meta"
)

// WithoutManagedFields is a cache.TransformFunc: it drops what nobody here reads, and what is half or more of a
// small object.
func WithoutManagedFields(object any) (any, error) {
	if accessor, err := meta.Accessor(object); err == nil {
		accessor.SetManagedFields(nil)
	}
	return object, nil
}

// Signal says that something has changed. What is said while nobody listens is one signal.
type Signal chan struct{}

// NewSignal returns one that has not been given.
func NewSignal() Signal { return make(Signal, 1) }

// Notify does not block.
func (s Signal) Notify() {
	select {
	case s <- struct{}{}:
	default:
	}
}
