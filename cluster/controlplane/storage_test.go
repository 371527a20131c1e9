package controlplane

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/kubernetes"
	"k8s.io/apiserver/pkg/storage/storagebackend"
)

func TestStoreDirectly(t *testing.T) {
	member := startMember(t, t.TempDir())
	defer member.Close()
	server := member.Server
	if err := lead(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	<-server.ReadyNotify()
	before := newStorageClient
	defer func() { newStorageClient = before }()
	etcd := NewEtcd()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	storeDirectly(stopped, etcd)
	if _, err := newStorageClient(storagebackend.TransportConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a client of an etcd that does not come: %v", err)
	}
	storeDirectly(t.Context(), etcd)
	go func() {
		etcd.server = server
		close(etcd.leads)
	}()
	endpoints := []string{etcdClientURL}
	client, err := newStorageClient(storagebackend.TransportConfig{ServerList: endpoints})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if got := client.Endpoints(); !reflect.DeepEqual(got, endpoints) {
		t.Errorf("the endpoints are %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := client.Status(ctx, etcdClientURL); err != nil {
		t.Error(err)
	}
	watch := client.Watch(clientv3.WithRequireLeader(ctx), "/a", clientv3.WithPrefix())
	put, err := client.Kubernetes.OptimisticPut(ctx, "/a/b", []byte("c"), 0, kubernetes.PutOptions{})
	if err != nil || !put.Succeeded {
		t.Fatalf("put: %+v, %v", put, err)
	}
	got, err := client.Kubernetes.Get(ctx, "/a/b", kubernetes.GetOptions{})
	if err != nil || string(got.KV.Value) != "c" {
		t.Errorf("get: %+v, %v", got, err)
	}
	answer := <-watch
	if err := answer.Err(); err != nil || len(answer.Events) != 1 || string(answer.Events[0].Kv.Value) != "c" {
		t.Errorf("watch: %+v", answer)
	}
	// A request that is too large is refused as it is through gRPC.
	large := make([]byte, 2<<20)
	if _, err := client.Kubernetes.OptimisticPut(ctx, "/a/l", large, 0, kubernetes.PutOptions{}); err == nil {
		t.Error("two megabytes were stored")
	}
}

// TestUpstreamHasTheClient fails where kube-apiserver gets its clients otherwise. The compiler does not see it: the name
// is the linker's.
func TestUpstreamHasTheClient(t *testing.T) {
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "k8s.io/apiserver/pkg/storage/storagebackend/factory").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "etcd3.go"))
	if err != nil {
		t.Fatal(err)
	}
	const client = "\nvar newETCD3Client = func(c storagebackend.TransportConfig) (*kubernetes.Client, error) {\n"
	if !strings.Contains(string(source), client) {
		t.Error("upstream's variable is another one")
	}
	if newStorageClient == nil {
		t.Error("the variable is not upstream's")
	}
}
