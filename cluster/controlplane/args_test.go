package controlplane

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/apiserver/pkg/audit/policy"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/golden"
)

const root = "../.."

func TestArgumentsAreGolden(t *testing.T) {
	c := golden.Cluster(t, root)
	audited := c
	audited.Audit.Enabled = true
	ownPolicy := audited
	ownPolicy.Audit.PolicyFile = "/etc/boxyard/policy.yaml"
	for name, args := range map[string][]string{
		"kube-apiserver.args":                 apiserverArgs(c),
		"audit.args":                          auditArgs(audited),
		"audit.own.args":                      auditArgs(ownPolicy),
		"kube-controller-manager.args":        controllerManagerArgs(c),
		"kube-controller-manager.single.args": controllerManagerArgs(golden.SingleStack(c)),
		"kube-scheduler.args":                 schedulerArgs(c),
	} {
		golden.Equal(t, name, strings.Join(args, "\n")+"\n")
	}
}

func TestConfigurationFilesAreGolden(t *testing.T) {
	admission, err := admission()
	if err != nil {
		t.Fatal(err)
	}
	for name, object := range map[string]any{
		"authentication.yaml": authentication(),
		"admission.yaml":      admission,
		"audit-policy.yaml":   auditPolicy(),
	} {
		data, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		golden.Equal(t, name, string(data))
	}
}

func TestAuditPolicyIsAccepted(t *testing.T) {
	data, err := yaml.Marshal(auditPolicy())
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.LoadPolicyFromBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range p.Rules {
		if level := auditv1.Level(rule.Level); level != auditv1.LevelNone && level != auditv1.LevelMetadata {
			t.Errorf("a rule of level %s records what is in objects", level)
		}
	}
}

func TestAuditIsOffByDefault(t *testing.T) {
	if args := auditArgs(golden.Cluster(t, root)); len(args) != 0 {
		t.Errorf("arguments %q", args)
	}
}

func TestEtcdIsGolden(t *testing.T) {
	e, err := etcdConfig(golden.Cluster(t, root))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.MarshalIndent(map[string]any{
		"name": e.Name, "dir": e.Dir, "initialCluster": e.InitialCluster,
		"listenClient": e.ListenClientUrls[0].String(), "listenPeer": e.ListenPeerUrls[0].String(),
		"clientTLS": e.ClientTLSInfo.String(), "peerTLS": e.PeerTLSInfo.String(),
		"tickMs": e.TickMs, "electionMs": e.ElectionMs, "quota": e.QuotaBackendBytes,
		"noFsync": e.UnsafeNoFsync,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "etcd.json", string(data)+"\n")
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}

func TestListenerJoinsAddresses(t *testing.T) {
	l, err := listen(t.Context(), []string{"127.0.0.1"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := listen(t.Context(), []string{"127.0.0.2"}, port(t, l))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = listen(t.Context(), []string{"127.0.0.1", "127.0.0.3"}, port(t, second))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	}()
	for _, host := range []string{"127.0.0.1", "127.0.0.3"} {
		if got := read(t, net.JoinHostPort(host, strconv.Itoa(port(t, l)))); got != "hello" {
			t.Errorf("%s answered %q", host, got)
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("a closed listener accepts")
	}
}

func TestListenerNamesTheAddressInUse(t *testing.T) {
	l, err := listen(t.Context(), []string{"127.0.0.1"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := listen(t.Context(), []string{"127.0.0.2", "127.0.0.1"}, port(t, l)); err == nil || !strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("error: %v", err)
	}
}

func port(t *testing.T, l *listener) int {
	t.Helper()
	address, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("not a TCP address: %v", l.Addr())
	}
	return address.Port
}

func read(t *testing.T, address string) string {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	data, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
