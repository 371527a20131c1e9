package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/boxyard/boxyard/cluster/internal/config"
)

const (
	etcdClientURL = "https://127.0.0.1:2379"
	etcdPeerURL   = "https://127.0.0.1:2380"
)

// etcdConfig is a single durable member: every acknowledged write is synced to
// disk, as upstream has it. Tick and election are short because there is no
// peer to wait for; a tick that is shorter still costs more than the start gains.
func etcdConfig(c config.Cluster) (*embed.Config, error) {
	client, err := url.Parse(etcdClientURL)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(etcdPeerURL)
	if err != nil {
		return nil, err
	}
	e := embed.NewConfig()
	e.Name = "boxyard"
	e.Dir = filepath.Join(c.DataDir, "etcd")
	e.ListenClientUrls, e.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	// Without an address of its own for HTTP, etcd serves gRPC through net/http, at twice the cost. Nothing of
	// ours uses the HTTP one.
	e.ListenClientHttpUrls = []url.URL{{Scheme: "unixs", Path: c.Run("etcd-http.sock")}}
	e.EnableGRPCGateway = false
	e.ListenPeerUrls, e.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	e.InitialCluster = e.InitialClusterFromName(e.Name)
	e.ClientTLSInfo = etcdTLS(c, "etcd/server")
	e.PeerTLSInfo = etcdTLS(c, "etcd/peer")
	e.UnsafeNoFsync = c.Ephemeral
	e.TickMs = 50
	e.ElectionMs = 250
	e.SnapshotCount = 10000
	e.QuotaBackendBytes = 8 << 30
	e.AutoCompactionMode = "periodic"
	e.AutoCompactionRetention = "0" // kube-apiserver compacts, every five minutes
	e.LogLevel = "warn"
	e.LogOutputs = []string{"stderr"}
	e.Logger = "zap"
	return e, nil
}

func etcdTLS(c config.Cluster, name string) transport.TLSInfo {
	return transport.TLSInfo{
		CertFile:       c.PKI(name + ".crt"),
		KeyFile:        c.PKI(name + ".key"),
		TrustedCAFile:  c.PKI("etcd/ca.crt"),
		ClientCertAuth: true,
	}
}

// RunEtcd calls ready when the member leads and returns when it has ended.
// A cancelled context stops it cleanly and gives nil.
func RunEtcd(ctx context.Context, c config.Cluster, ready func()) error {
	cfg, err := etcdConfig(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory of etcd: %w", err)
	}
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("start etcd: %w", err)
	}
	defer etcd.Close()
	select {
	case <-etcd.Server.ReadyNotify():
		ready()
	case err := <-etcd.Err():
		return fmt.Errorf("etcd: %w", err)
	case <-etcd.Server.StopNotify():
		return errors.New("etcd ended while it started")
	case <-time.After(2 * time.Minute):
		return errors.New("etcd is not ready after two minutes")
	case <-ctx.Done():
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-etcd.Err():
		return fmt.Errorf("etcd: %w", err)
	case <-etcd.Server.StopNotify():
		return errors.New("etcd has stopped")
	}
}
