// Package unexported reaches fields of upstream's that are not exported. Whoever uses it says what happens where an
// update of upstream has moved the field, and has a test that fails then.
package unexported

import (
	"reflect"
	"unsafe"
)

// Field is a field of upstream's that is not exported, by its name and type, or nil where there is none. v leads to
// the struct by pointers and interfaces. Whoever sets the field does it before upstream begins.
func Field[T any](v reflect.Value, name string) *T {
	s := Struct(v)
	if !s.IsValid() {
		return nil
	}
	field := s.FieldByName(name)
	if !field.IsValid() || !field.CanAddr() || field.Type() != reflect.TypeFor[T]() {
		return nil
	}
	return (*T)(unsafe.Pointer(field.UnsafeAddr()))
}

// Struct is what v leads to, or the zero Value where that is no struct.
func Struct(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v
}
