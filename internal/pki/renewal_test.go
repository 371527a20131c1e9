package pki

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/boxyard/boxyard/internal/fault"
)

func TestLeafIsRenewedAtStartPastTwoThirdsOfItsLife(t *testing.T) {
	now := time.Now()
	p := params(t)
	p.Clock = func() time.Time { return now }
	p.LeafLife = 30 * time.Hour
	mustEnsure(t, p)
	before := contents(t, p.Dir)

	now = now.Add(19 * time.Hour)
	if renewed := mustEnsure(t, p); len(renewed) != 0 {
		t.Fatalf("renewed %v too early", renewed)
	}
	now = now.Add(2 * time.Hour)
	if renewed := mustEnsure(t, p); len(renewed) != len(leaves(p)) {
		t.Fatalf("renewed only %v", renewed)
	}
	after := contents(t, p.Dir)
	for _, l := range leaves(p) {
		if before[l.name+".key"] != after[l.name+".key"] {
			t.Errorf("%s has another key", l.name)
		}
		if before[l.name+".crt"] == after[l.name+".crt"] {
			t.Errorf("%s has the same certificate", l.name)
		}
		if left := mustCert(t, p, l.name).NotAfter.Sub(now); left < 29*time.Hour {
			t.Errorf("%s has %s left", l.name, left)
		}
	}
	for _, a := range authorities() {
		if before[a.name+".crt"] != after[a.name+".crt"] {
			t.Errorf("%s was replaced", a.name)
		}
	}
}

func TestRunRenewsBeforeExpiryAndKeepsPairsMatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := params(t)
		p.LeafLife = 3 * time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		var renewals atomic.Int32
		done := make(chan error, 1)
		go func() { done <- Run(ctx, p, func([]string) { renewals.Add(1) }) }()

		for range 24 * 6 { // a day, looked at every ten minutes
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			for _, l := range leaves(p) {
				if _, err := tls.LoadX509KeyPair(p.path(l.name+".crt"), p.path(l.name+".key")); err != nil {
					t.Fatal(err)
				}
				if left := time.Until(mustCert(t, p, l.name).NotAfter); left < 50*time.Minute {
					t.Fatalf("%s has only %s left", l.name, left)
				}
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := renewals.Load(); n < 10 || n > 16 {
			t.Errorf("%d renewals in a day of leaves that live 3 hours", n)
		}
	})
}

func TestRunEndsWithTheError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := params(t)
		p.LeafLife, p.CALife = time.Hour, 10*time.Hour
		err := Run(t.Context(), p, func([]string) {})
		if fault.Code(err) != "ca-expired" {
			t.Errorf("got %v", err)
		}
	})
}

func TestClockBehindIsAFault(t *testing.T) {
	p := params(t)
	mustEnsure(t, p)
	p.Clock = func() time.Time { return time.Now().Add(-24 * time.Hour) }
	if _, err := Ensure(p); fault.Code(err) != "clock-behind" {
		t.Errorf("got %v", err)
	}
}

func TestLeafDoesNotOutliveItsAuthority(t *testing.T) {
	p := params(t)
	p.LeafLife, p.CALife = 48*time.Hour, 24*time.Hour
	mustEnsure(t, p)
	for _, l := range leaves(p) {
		if mustCert(t, p, l.name).NotAfter.After(mustCert(t, p, l.ca).NotAfter) {
			t.Errorf("%s outlives %s", l.name, l.ca)
		}
	}
	if renewed := mustEnsure(t, p); len(renewed) != 0 {
		t.Errorf("renewed %v, which gains nothing", renewed)
	}
}
