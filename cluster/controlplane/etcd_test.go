package controlplane

import (
	"fmt"
	"net/url"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// startMember starts an etcd that would wait for 50 seconds until it campaigns by itself.
func startMember(t *testing.T, dir string) *embed.Etcd {
	t.Helper()
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenClientUrls, c.AdvertiseClientUrls, c.ListenPeerUrls, c.AdvertisePeerUrls = anyPort, anyPort, anyPort, anyPort
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.TickMs, c.ElectionMs = 10_000, 50_000
	c.LogLevel = "error"
	etcd, err := embed.StartEtcd(c)
	if err != nil {
		t.Fatal(err)
	}
	return etcd
}

// A member that comes back has a log to read, of which it drops the beginning as soon as it has applied a hundred entries,
// while raft may still have to note that they are applied. To campaign just then ends the process. With all processors
// busy the moment is long.
func TestAMemberLeadsWheneverItComesBack(t *testing.T) {
	dir := t.TempDir()
	first := startMember(t, dir)
	if err := lead(t.Context(), first.Server); err != nil {
		t.Fatal(err)
	}
	client := v3client.New(first.Server)
	for i := range 150 {
		if _, err := client.Put(t.Context(), fmt.Sprint(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()

	done := make(chan struct{})
	defer close(done)
	for range 8 {
		go func() {
			for {
				select {
				case <-done:
					return
				default:
				}
			}
		}()
	}
	for range 10 {
		again := startMember(t, dir)
		err := lead(t.Context(), again.Server)
		again.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}
