package pki

import (
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/keyutil"

	"github.com/boxyard/boxyard/internal/fault"
)

func params(t *testing.T) Params {
	return Params{
		Dir:        filepath.Join(t.TempDir(), "pki"),
		NodeName:   "laptop",
		NodeIPs:    []net.IP{net.ParseIP("10.42.0.1"), net.ParseIP("fd42:b0c5:42::1")},
		ServiceIPs: []net.IP{net.ParseIP("10.43.0.1"), net.ParseIP("fd42:b0c5:43::1")},
		APIPort:    6443,
	}
}

func mustEnsure(t *testing.T, p Params) []string {
	t.Helper()
	renewed, err := Ensure(p)
	if err != nil {
		t.Fatal(err)
	}
	return renewed
}

// contents maps each file below dir to what is in it.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestEnsureMakesEveryFileOnce(t *testing.T) {
	p := params(t)
	made := mustEnsure(t, p)
	want := []string{
		"admin", "apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "controller-manager",
		"controllers", "dns", "etcd/peer", "etcd/server", "front-proxy-client", "images/client",
		"images/server", "kube-proxy", "kubelet", "kubelet-client", "scheduler",
	}
	if d := cmp.Diff(want, made); d != "" {
		t.Fatalf("leaves (-want +got):\n%s", d)
	}
	files := contents(t, p.Dir)
	for _, name := range append(want, "ca", "etcd/ca", "front-proxy-ca", "images/ca") {
		for _, f := range []string{name + ".crt", name + ".key"} {
			if files[f] == "" {
				t.Errorf("%s is missing", f)
			}
		}
	}
	for name := range files {
		info, err := os.Stat(filepath.Join(p.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		public := strings.HasSuffix(name, ".crt") || name == "sa.pub"
		if perm := info.Mode().Perm(); !public && perm != 0o600 {
			t.Errorf("%s has mode %o", name, perm)
		}
	}
	if again := mustEnsure(t, p); len(again) != 0 {
		t.Errorf("second Ensure renewed %v", again)
	}
	if d := cmp.Diff(files, contents(t, p.Dir)); d != "" {
		t.Errorf("second Ensure changed files:\n%s", d)
	}
}

func TestCertificatesServeTheirPurpose(t *testing.T) {
	p := params(t)
	mustEnsure(t, p)
	for _, tt := range []struct {
		name, ca string
		usage    x509.ExtKeyUsage
		subject  string
		hosts    []string
	}{
		{"apiserver", "ca", x509.ExtKeyUsageServerAuth, "CN=kube-apiserver", []string{
			"localhost", "laptop", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local", "127.0.0.1", "::1", "10.42.0.1", "fd42:b0c5:42::1", "10.43.0.1", "fd42:b0c5:43::1",
		}},
		{"kubelet", "ca", x509.ExtKeyUsageServerAuth, "CN=system:node:laptop,O=system:nodes", []string{"laptop", "10.42.0.1", "fd42:b0c5:42::1"}},
		{"etcd/server", "etcd/ca", x509.ExtKeyUsageServerAuth, "CN=laptop", []string{"localhost", "127.0.0.1", "10.42.0.1"}},
		{"etcd/server", "etcd/ca", x509.ExtKeyUsageClientAuth, "CN=laptop", nil},
		{"etcd/peer", "etcd/ca", x509.ExtKeyUsageServerAuth, "CN=laptop", []string{"127.0.0.1"}},
		{"etcd/peer", "etcd/ca", x509.ExtKeyUsageClientAuth, "CN=laptop", nil},
		{"images/server", "images/ca", x509.ExtKeyUsageServerAuth, "CN=boxyard-images", []string{"127.0.0.1", "localhost"}},
		{"images/client", "images/ca", x509.ExtKeyUsageClientAuth, "CN=boxyard:images", nil},
		{"apiserver-etcd-client", "etcd/ca", x509.ExtKeyUsageClientAuth, "CN=kube-apiserver-etcd-client", nil},
		{"apiserver-kubelet-client", "ca", x509.ExtKeyUsageClientAuth, "CN=kube-apiserver-kubelet-client,O=system:masters", nil},
		{"front-proxy-client", "front-proxy-ca", x509.ExtKeyUsageClientAuth, "CN=front-proxy-client", nil},
		{"kubelet-client", "ca", x509.ExtKeyUsageClientAuth, "CN=system:node:laptop,O=system:nodes", nil},
		{"controller-manager", "ca", x509.ExtKeyUsageClientAuth, "CN=system:kube-controller-manager", nil},
		{"scheduler", "ca", x509.ExtKeyUsageClientAuth, "CN=system:kube-scheduler", nil},
		{"kube-proxy", "ca", x509.ExtKeyUsageClientAuth, "CN=system:kube-proxy", nil},
		{"dns", "ca", x509.ExtKeyUsageClientAuth, "CN=boxyard:dns", nil},
		{"controllers", "ca", x509.ExtKeyUsageClientAuth, "CN=boxyard:controllers", nil},
		{"admin", "ca", x509.ExtKeyUsageClientAuth, "CN=boxyard:admin,O=system:masters", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, ca := mustCert(t, p, tt.name), mustCert(t, p, tt.ca)
			roots := x509.NewCertPool()
			roots.AddCert(ca)
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{tt.usage}}); err != nil {
				t.Error(err)
			}
			if got := cert.Subject.String(); got != tt.subject {
				t.Errorf("subject %s, want %s", got, tt.subject)
			}
			for _, h := range tt.hosts {
				if err := cert.VerifyHostname(h); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func mustCert(t *testing.T, p Params, name string) *x509.Certificate {
	t.Helper()
	cert, err := readCert(p.path(name + ".crt"))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestServiceAccountKeyIsWhatTheAPIServerReads(t *testing.T) {
	p := params(t)
	mustEnsure(t, p)
	if _, err := keyutil.PrivateKeyFromFile(p.path("sa.key")); err != nil {
		t.Error(err)
	}
	if keys, err := keyutil.PublicKeysFromFile(p.path("sa.pub")); err != nil || len(keys) != 1 {
		t.Errorf("%d public keys, %v", len(keys), err)
	}
}

func TestKubeconfigs(t *testing.T) {
	p := params(t)
	mustEnsure(t, p)
	for _, name := range kubeconfigs() {
		c, err := clientcmd.BuildConfigFromFlags("", p.path(name+".kubeconfig"))
		if err != nil {
			t.Fatal(err)
		}
		if c.Host != "https://127.0.0.1:6443" || c.CertFile != p.path(name+".crt") || c.KeyFile != p.path(name+".key") || c.CAFile != p.path("ca.crt") {
			t.Errorf("%s: %+v", name, c)
		}
	}
	p.APIPort = 6444
	mustEnsure(t, p)
	c, err := clientcmd.BuildConfigFromFlags("", p.path("scheduler.kubeconfig"))
	if err != nil || c.Host != "https://127.0.0.1:6444" {
		t.Errorf("after another port: %v, %v", c, err)
	}
	data, err := AdminKubeconfig(p)
	if err != nil {
		t.Fatal(err)
	}
	admin, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil || len(admin.CertData) == 0 || len(admin.KeyData) == 0 || len(admin.CAData) == 0 {
		t.Errorf("admin kubeconfig is not self-contained: %v, %v", admin, err)
	}
}

func TestChangedParamsRenewWhatTheyTouch(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Params)
		want   []string
	}{
		{"node address", func(p *Params) { p.NodeIPs = p.NodeIPs[:1] }, []string{"apiserver", "etcd/peer", "etcd/server", "kubelet"}},
		{"service range", func(p *Params) { p.ServiceIPs = nil }, []string{"apiserver"}},
		{"node name", func(p *Params) { p.NodeName = "desk" }, []string{"apiserver", "etcd/peer", "etcd/server", "kubelet", "kubelet-client"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := params(t)
			mustEnsure(t, p)
			tt.change(&p)
			if d := cmp.Diff(tt.want, mustEnsure(t, p)); d != "" {
				t.Errorf("renewed (-want +got):\n%s", d)
			}
		})
	}
}

func TestDamagedLeafIsReplaced(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(p Params) error
	}{
		{"no certificate", func(p Params) error { return os.Remove(p.path("dns.crt")) }},
		{"torn certificate", func(p Params) error { return os.Truncate(p.path("dns.crt"), 40) }},
		{"no key", func(p Params) error { return os.Remove(p.path("dns.key")) }},
		{"torn key", func(p Params) error { return os.Truncate(p.path("dns.key"), 40) }},
		{"another's certificate", func(p Params) error { return os.Rename(p.path("scheduler.crt"), p.path("dns.crt")) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := params(t)
			mustEnsure(t, p)
			if err := tt.damage(p); err != nil {
				t.Fatal(err)
			}
			if renewed := mustEnsure(t, p); !slices.Contains(renewed, "dns") {
				t.Errorf("renewed %v", renewed)
			}
			if renewed := mustEnsure(t, p); len(renewed) != 0 {
				t.Errorf("then renewed %v again", renewed)
			}
		})
	}
}

func TestDamageToWhatDataDependsOnIsAFault(t *testing.T) {
	for _, tt := range []struct {
		file   string
		damage func(file string) error
	}{
		{"ca.key", os.Remove},
		{"ca.key", truncate},
		{"ca.crt", truncate},
		{"etcd/ca.key", os.Remove},
		{"images/ca.key", truncate},
		{"front-proxy-ca.key", truncate},
		{"sa.key", os.Remove},
		{"sa.key", truncate},
		{"encryption.yaml", os.Remove},
		{"encryption.yaml", truncate},
	} {
		t.Run(tt.file, func(t *testing.T) {
			p := params(t)
			mustEnsure(t, p)
			if err := tt.damage(p.path(tt.file)); err != nil {
				t.Fatal(err)
			}
			before := contents(t, p.Dir)
			_, err := Ensure(p)
			if fault.Code(err) != "pki-damaged" || !strings.Contains(err.Error(), p.path(tt.file)) {
				t.Errorf("got %v", err)
			}
			if d := cmp.Diff(before, contents(t, p.Dir)); d != "" {
				t.Errorf("files changed:\n%s", d)
			}
		})
	}
}

func truncate(file string) error { return os.Truncate(file, 30) }

func TestForeignKeyBesideAnAuthorityIsAFault(t *testing.T) {
	p := params(t)
	mustEnsure(t, p)
	if err := os.Rename(p.path("etcd/ca.key"), p.path("ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(p); fault.Code(err) != "pki-damaged" {
		t.Errorf("got %v", err)
	}
}

func TestCreationThatWasCutShortIsCompleted(t *testing.T) {
	p := params(t)
	mustEnsure(t, p)
	key := contents(t, p.Dir)["images/ca.key"]
	for _, f := range []string{"images/ca.crt", "images/server.crt", "images/client.key", "images/client.crt"} {
		if err := os.Remove(p.path(f)); err != nil {
			t.Fatal(err)
		}
	}
	mustEnsure(t, p)
	if contents(t, p.Dir)["images/ca.key"] != key {
		t.Error("the CA's key was replaced")
	}
}
