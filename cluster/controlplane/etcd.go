package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/raft/v3"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/unexported"
)

const (
	etcdClientURL = "https://127.0.0.1:2379"
	etcdPeerURL   = "https://127.0.0.1:2380"
)

// etcdConfig is a single durable member: every acknowledged write is synced to disk, as upstream has it. Ticks are for
// elections and for heartbeats to peers. There are no peers, and the election is held at once (lead), so they are rare.
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
	e.TickMs = 500
	e.ElectionMs = 2500
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

// Etcd is the etcd of this process. What is going to use it starts beside it.
type Etcd struct {
	leads  chan struct{}          // closed when it leads
	server *etcdserver.EtcdServer // not before
}

// NewEtcd returns an etcd that is yet to be run.
func NewEtcd() *Etcd { return &Etcd{leads: make(chan struct{})} }

// wait returns when the member leads.
func (e *Etcd) wait(ctx context.Context) (*etcdserver.EtcdServer, error) {
	select {
	case <-e.leads:
		return e.server, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for etcd: %w", ctx.Err())
	}
}

// Run calls ready when the member leads and returns when it has ended. A cancelled context stops it cleanly and gives
// nil. It is called once.
func (e *Etcd) Run(ctx context.Context, c config.Cluster, ready func()) error {
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
	if err := lead(ctx, etcd.Server); err != nil && ctx.Err() == nil {
		slog.Warn("etcd waits for its election", "error", err)
	}
	select {
	case <-etcd.Server.ReadyNotify():
		e.server = etcd.Server
		close(e.leads)
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

// leadTime is within which the only member leads, where its disk is not very slow; otherwise its ticks see to it.
const leadTime = 2 * time.Second

// lead makes the only member campaign as soon as it has read its log, rather than after some of its ticks. It returns
// when it leads.
//
// What counts is what raft knows of the log: it looks through what it takes for not yet applied when it campaigns, and
// ends the process where that is gone. Etcd drops what it has applied a moment before it says so to raft.
func lead(ctx context.Context, server *etcdserver.EtcdServer) error {
	ctx, cancel := context.WithTimeout(ctx, leadTime)
	defer cancel()
	node := raftNode(server)
	if node == nil {
		return errors.New("this etcd has no raft node where one was expected")
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for server.Leader() == 0 {
		status := node.Status()
		if status.Applied > 0 && status.Applied >= status.GetCommit() && server.AppliedIndex() >= status.Applied {
			// What the leader does at once reads the term from the disk, where it would be 100 ms later.
			server.KV().Commit()
			if err := node.Campaign(ctx); err != nil {
				return fmt.Errorf("campaign: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-server.StopNotify():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// raftNode is nil where a later etcd has it in another field.
func raftNode(server *etcdserver.EtcdServer) raft.Node {
	node := unexported.Field[raft.Node](unexported.Struct(reflect.ValueOf(server)).FieldByName("r"), "Node")
	if node == nil {
		return nil
	}
	return *node
}
