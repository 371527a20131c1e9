package server

import "testing"

func TestThrift(t *testing.T) {
	thrift := &thrift{busy: true}
	second := func(share float64, changed, busy bool) {
		t.Helper()
		if got := thrift.see(share); got != changed || thrift.busy != busy {
			t.Errorf("after a second of %v: changed %v, busy %v; want %v, %v", share, got, thrift.busy, changed, busy)
		}
	}
	second(1.2, false, true)
	for range quietTime - 1 {
		second(0.05, false, true)
	}
	second(0.5, false, true) // the quiet was not long enough
	for range quietTime - 1 {
		second(0.05, false, true)
	}
	second(0.05, true, false)
	second(0.05, false, false)
	second(0.5, true, true)
}
