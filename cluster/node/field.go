package node

import (
	"reflect"
	"unsafe"
)

// fieldOf is a field of upstream's that is not exported, by its name and type, or nil where there is none. v leads to
// the struct by pointers and interfaces. Whoever sets the field does it before upstream begins.
func fieldOf[T any](v reflect.Value, name string) *T {
	s := structOf(v)
	if !s.IsValid() {
		return nil
	}
	field := s.FieldByName(name)
	if !field.IsValid() || !field.CanAddr() || field.Type() != reflect.TypeFor[T]() {
		return nil
	}
	return (*T)(unsafe.Pointer(field.UnsafeAddr()))
}

// structOf is what v leads to, or the zero Value where that is no struct.
func structOf(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v
}
