package server

import "testing"

type thriftTest struct {
	*testing.T
	*thrift
}

func (t thriftTest) second(share float64, changed, busy bool) {
	t.Helper()
	if got := t.see(share); got != changed || t.busy != busy {
		t.Errorf("after a second of %v: changed %v, busy %v; want %v, %v", share, got, t.busy, changed, busy)
	}
}

func (t thriftTest) quietDown() {
	t.Helper()
	for range quietTime - 1 {
		t.second(0.05, false, true)
	}
}

func TestThrift(t *testing.T) {
	thrift := thriftTest{t, newThrift(true)}
	thrift.second(1.2, false, true)
	thrift.quietDown()
	thrift.second(0.5, false, true) // the quiet was not long enough
	thrift.quietDown()
	thrift.second(0.05, true, false)
	thrift.second(0.05, false, false)
	thrift.second(0.5, true, true)
}

func TestOneRequestIsAttendedTo(t *testing.T) {
	thrift := thriftTest{t, newThrift(true)}
	thrift.quietDown()
	thrift.second(0.05, true, false)
	if !thrift.attend() || thrift.attend() {
		t.Error("only the first of two requests wakes")
	}
	for range attention - 1 {
		thrift.second(0.05, false, true)
	}
	thrift.second(0.05, true, false)
	thrift.attend()
	thrift.second(0.5, false, true) // there was much to do
	thrift.quietDown()
	thrift.second(0.05, true, false)
}
