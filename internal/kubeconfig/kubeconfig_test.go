package kubeconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/boxyard/boxyard/internal/fault"
)

func me(t *testing.T) User {
	return User{UID: os.Getuid(), GID: os.Getgid(), Home: t.TempDir()}
}

func adminConfig(t *testing.T, server string) []byte {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["any"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: []byte("ca")}
	c.AuthInfos["any"] = &clientcmdapi.AuthInfo{ClientCertificateData: []byte("cert"), ClientKeyData: []byte("key")}
	c.Contexts["any"] = &clientcmdapi.Context{Cluster: "any", AuthInfo: "any"}
	c.CurrentContext = "any"
	data, err := clientcmd.Write(*c)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const others = `apiVersion: v1
kind: Config
current-context: work
clusters:
- name: work
  cluster: {server: https://work.example:6443, certificate-authority: certs/ca.crt}
users:
- name: me
  user: {token: secret}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: team}
`

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, path string) *clientcmdapi.Config {
	t.Helper()
	c, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestMergeMakesWhatIsMissingAndRemoveUndoesIt(t *testing.T) {
	u := me(t)
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6443")))
	dir, path := filepath.Join(u.Home, ".kube"), filepath.Join(u.Home, ".kube", "config")
	for name, mode := range map[string]os.FileMode{dir: 0o700, path: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	c := load(t, path)
	if c.CurrentContext != "boxyard" || c.Clusters["boxyard"].Server != "https://127.0.0.1:6443" || string(c.AuthInfos["boxyard"].ClientKeyData) != "key" {
		t.Errorf("got %+v", c)
	}
	if _, err := clientcmd.NewDefaultClientConfig(*c, nil).ClientConfig(); err != nil {
		t.Error(err)
	}
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6444"))) // what was made stays noted
	must(t, Remove(u))
	if entries, _ := os.ReadDir(u.Home); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
	must(t, Remove(u))
}

func TestOtherContextsStay(t *testing.T) {
	u := me(t)
	path := filepath.Join(u.Home, ".kube", "config")
	write(t, path, others)
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6443")))
	c := load(t, path)
	if c.CurrentContext != "work" || c.Clusters["work"].CertificateAuthority != "certs/ca.crt" || c.AuthInfos["me"].Token != "secret" || c.Contexts["work"].Namespace != "team" {
		t.Errorf("others changed: %+v", c)
	}
	if c.Contexts["boxyard"] == nil {
		t.Error("no context boxyard")
	}
	must(t, Remove(u))
	c = load(t, path)
	if len(c.Clusters) != 1 || len(c.AuthInfos) != 1 || len(c.Contexts) != 1 || c.CurrentContext != "work" {
		t.Errorf("after Remove: %+v", c)
	}
}

func TestRemoveResetsOurCurrentContextAndKeepsAFileThatWasThere(t *testing.T) {
	u := me(t)
	path := filepath.Join(u.Home, ".kube", "config")
	write(t, path, "")
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6443")))
	must(t, Remove(u))
	if c := load(t, path); c.CurrentContext != "" || len(c.Contexts) != 0 {
		t.Errorf("got %+v", c)
	}
}

func TestMergeAgainKeepsTheNamespaceAndAnUnchangedFile(t *testing.T) {
	u := me(t)
	path := filepath.Join(u.Home, ".kube", "config")
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6443")))
	c := load(t, path)
	c.Contexts["boxyard"].Namespace = "shop"
	must(t, clientcmd.WriteToFile(*c, path))
	before, _ := os.Stat(path)
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6443")))
	after, _ := os.Stat(path)
	if !os.SameFile(before, after) {
		t.Error("an unchanged file was written again")
	}
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6444")))
	if c := load(t, path); c.Contexts["boxyard"].Namespace != "shop" || c.Clusters["boxyard"].Server != "https://127.0.0.1:6444" {
		t.Errorf("got %+v", c.Contexts["boxyard"])
	}
}

func TestCorruptFileIsAFaultAndStays(t *testing.T) {
	u := me(t)
	path := filepath.Join(u.Home, ".kube", "config")
	write(t, path, "clusters: [what")
	for _, err := range []error{Merge(u, adminConfig(t, "https://127.0.0.1:6443")), Remove(u)} {
		if fault.Code(err) != "kubeconfig-corrupt" {
			t.Errorf("got %v", err)
		}
	}
	if data, _ := os.ReadFile(path); string(data) != "clusters: [what" {
		t.Errorf("the file was changed: %q", data)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestLinkIsFollowedAndStays(t *testing.T) {
	u := me(t)
	path, target := filepath.Join(u.Home, ".kube", "config"), filepath.Join(u.Home, "dotfiles", "kube")
	write(t, target, others)
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	must(t, os.Symlink(target, path))
	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6443")))
	if info, _ := os.Lstat(path); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if load(t, target).Contexts["boxyard"] == nil {
		t.Error("the link's target has no context boxyard")
	}
}

func TestLinkToNowhereIsAFault(t *testing.T) {
	u := me(t)
	path := filepath.Join(u.Home, ".kube", "config")
	must(t, os.Mkdir(filepath.Dir(path), 0o700))
	must(t, os.Symlink("/nowhere/at/all", path))
	if err := Merge(u, adminConfig(t, "https://127.0.0.1:6443")); fault.Code(err) != "kubeconfig-link" {
		t.Errorf("got %v", err)
	}
}

// The remaining test needs another user, so it says what it proves only when run as root.
func TestRootWritesWithTheUsersRightsOnly(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	base, err := os.MkdirTemp("/tmp", "kubeconfig-test-") //nolint:usetesting // t.TempDir is below directories that others may not enter
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	must(t, os.Chmod(base, 0o755))
	secret := filepath.Join(base, "secret")
	must(t, os.Mkdir(secret, 0o755))
	write(t, filepath.Join(secret, "config"), "")
	must(t, os.Chmod(filepath.Join(secret, "config"), 0o644))
	u := User{UID: 65534, GID: 65534, Home: filepath.Join(base, "home")}
	must(t, os.Mkdir(u.Home, 0o755))
	must(t, os.Chown(u.Home, u.UID, u.GID))

	must(t, Merge(u, adminConfig(t, "https://127.0.0.1:6443")))
	must(t, asUser(u, func() error { _, err := os.ReadFile(filepath.Join(u.Home, ".kube", "config")); return err }))
	must(t, os.RemoveAll(filepath.Join(u.Home, ".kube")))

	must(t, os.Symlink(secret, filepath.Join(u.Home, ".kube")))
	err = Merge(u, adminConfig(t, "https://127.0.0.1:6443"))
	if fault.Code(err) != "kubeconfig-unwritable" || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(secret); len(entries) != 1 {
		t.Errorf("root wrote where the user may not: %v", entries)
	}
	if os.Getuid() != 0 || os.Geteuid() != 0 {
		t.Error("the process is no longer root")
	}
}
