//go:build integration

package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
	"github.com/google/go-cmp/cmp"
)

// TestPlatform is everything that leaves the platform as it was. Its parts do not depend on
// each other.
func TestPlatform(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.sh("useradd --create-home --home-dir /opt/dev dev") // /opt is private here, /home is not
	ids := strings.Fields(b.sh("id -u dev; id -g dev"))
	// As `sudo boxyard up` by the user dev.
	b.sh("SUDO_USER=dev SUDO_UID=" + ids[0] + " SUDO_GID=" + ids[1] + " " + b.Binary + " " + strings.Join(b.UpArgs(), " "))
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"listeners", listeners}, // first: before anything publishes a port
		{"up again", upAgain},
		{"status", status},
		{"versions", versions},
		{"file modes", fileModes},
		{"user", userWithoutSudo},
		{"docker build and run", dockerBuildAndRun},
		{"docker names and volumes", dockerNamesAndVolumes},
		{"docker clients", dockerClients},
		{"swarm", swarmIsRefused},
		{"example", exampleApplication},
		{"latest", noSurpriseWithLatest},
		{"disk use", diskUse},
		{"df", diskReport},
		{"prune", prune},
		{"kubectl", kubectlTools},
		{"dns", clusterDNS},
		{"url", url},
		{"logs", logs},
		{"documents", documents},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

func upAgain(b box) {
	before := b.status()
	if out := b.up(); out == "" {
		b.t.Error("up says nothing")
	}
	after := b.status()
	for _, part := range []string{"boxyard", "containerd", "dockerd", "cluster", "dns"} {
		if before.PIDOf(part) == 0 || before.PIDOf(part) != after.PIDOf(part) {
			b.t.Errorf("%s had pid %d, then %d", part, before.PIDOf(part), after.PIDOf(part))
		}
	}
}

func (b box) status() harness.Status {
	b.t.Helper()
	status, err := b.Status(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	return status
}

func status(b box) {
	status := b.status()
	if !status.Ready || status.PID == 0 || status.Version == "" {
		b.t.Errorf("status: %+v", status)
	}
	var names []string
	for _, c := range status.Components {
		names = append(names, c.Name)
		if c.State != "ready" || c.Since.IsZero() || time.Since(c.Since) > time.Hour {
			b.t.Errorf("%s: %+v", c.Name, c)
		}
		if c.PID != 0 && (c.MemoryBytes == 0 || c.Version == "") {
			b.t.Errorf("%s has no memory or version: %+v", c.Name, c)
		}
	}
	for _, want := range []string{"network", "containerd", "dockerd", "cluster", "dns", "images"} {
		if !slices.Contains(names, want) {
			b.t.Errorf("status lacks %s: %v", want, names)
		}
	}
	table := b.boxyard("status")
	for _, name := range names {
		if !strings.Contains(table, name) {
			b.t.Errorf("the table lacks %s:\n%s", name, table)
		}
	}
}

// versions: what upstream built shows as what it is.
func versions(b box) {
	all := b.boxyard("version")
	kubernetes := b.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.kubeletVersion}")
	for what, version := range map[string]string{
		"docker client": b.docker("version", "--format", "{{.Client.Version}}"),
		"docker server": b.docker("version", "--format", "{{.Server.Version}}"),
		"kubelet":       kubernetes,
		"containerd":    b.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.nodeInfo.containerRuntimeVersion}"),
	} {
		number := strings.TrimPrefix(version[strings.LastIndex(version, "/")+1:], "v")
		if number == "" || strings.Contains(number, "0.0.0") || strings.Contains(number, "library") || strings.Contains(number, "unknown") {
			b.t.Errorf("%s: version %q", what, version)
		}
		if !strings.Contains(all, number) {
			b.t.Errorf("`boxyard version` lacks %s %s:\n%s", what, number, all)
		}
	}
	if out := b.kubectl("version"); strings.Count(out, kubernetes) < 2 {
		b.t.Errorf("kubectl version: client and server are not both %s:\n%s", kubernetes, out)
	}
}

// fileModes: nothing secret may be read by others, and sockets are for root and the group.
func fileModes(b box) {
	found := b.sh(`find /var/lib/boxyard /etc/boxyard /run/boxyard /var/log/boxyard -xdev \
 \( -path '*/payload/*' -o -path '*/snapshots/*' -o -path '*/overlayfs/*' -o -path '*/content/*' -o -path /run/boxyard/containerd/io.containerd\* \) -prune -o \
 -type f \( -name '*.key' -o -name '*kubeconfig*' -o -name 'encryption*' -o -name '*.db' \) -printf '%m %p\n'`)
	checked := 0
	for line := range strings.Lines(found) {
		mode, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		checked++
		// What a directory above it hides is safe whatever its own mode says.
		if b.sh("setpriv --reuid=65534 --regid=65534 --clear-groups test -r '"+path+"' && echo yes || true") != "" {
			b.t.Errorf("%s has mode %s: others may read it", path, mode)
		}
	}
	if checked < 10 {
		b.t.Errorf("only %d secret files found:\n%s", checked, found)
	}
	for path, want := range map[string]string{
		"/run/boxyard/docker.sock":  "660",
		"/run/boxyard/boxyard.sock": "660",
		"/var/lib/boxyard/pki":      "700",
	} {
		if got := b.sh("stat -c %a " + path); got != want {
			b.t.Errorf("%s has mode %s, want %s", path, got, want)
		}
	}
	for line := range strings.Lines(b.sh(`find /run/boxyard -xdev -type s -perm /007`)) {
		path := strings.TrimSpace(line)
		if b.sh("setpriv --reuid=65534 --regid=65534 --clear-groups test -w '"+path+"' && echo yes || true") != "" {
			b.t.Errorf("others may use the socket %s", path)
		}
	}
	keys := b.sh(`grep -rlsI -e 'PRIVATE KEY' /etc/boxyard /run/boxyard /var/log/boxyard /var/lib/boxyard/pki | xargs -r stat -c '%a %n'`)
	for line := range strings.Lines(keys) {
		if mode, path, _ := strings.Cut(strings.TrimSpace(line), " "); !strings.HasSuffix(mode, "0") {
			b.t.Errorf("a private key in %s, mode %s", path, mode)
		}
	}
}

// listeners compares every listening socket with a checked-in list: a new one is a decision.
func listeners(b box) {
	var got []string
	for line := range strings.Lines(b.sh("ss -H -ltnup")) {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			continue
		}
		process := strings.TrimPrefix(fields[len(fields)-1], `users:(("`)
		process, _, _ = strings.Cut(process, `"`)
		host, port, err := net.SplitHostPort(fields[4])
		if err != nil {
			b.t.Fatal(err)
		}
		if host == "127.0.0.1" && port != "80" && (process == "boxyard" || process == "containerd") {
			port = "ANY" // the image mirror's, and CRI's streams of exec and attach
		}
		got = append(got, fmt.Sprintf("%s %s %s", process, fields[0], net.JoinHostPort(host, port)))
	}
	slices.Sort(got)
	got = slices.Compact(got)
	const file = "testdata/listeners.txt"
	want, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	var wanted []string
	for line := range strings.Lines(string(want)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			wanted = append(wanted, line)
		}
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		b.t.Errorf("listening sockets differ from %s (-want +got):\n%s", file, diff)
	}
}

// userWithoutSudo: who ran sudo uses docker and kubectl without it, and others do not.
func userWithoutSudo(b box) {
	as := func(user, command string) (harness.Result, error) {
		ids := strings.Fields(b.sh("id -u " + user + "; id -g " + user + "; getent passwd " + user + " | cut -d: -f6"))
		return b.Exec(b.t.Context(), harness.Command{
			Name: "setpriv",
			Args: []string{"--reuid", ids[0], "--regid", ids[1], "--clear-groups", "sh", "-c", command},
			Env:  []string{"HOME=" + ids[2]},
		})
	}
	exe := "/var/lib/boxyard/bin/"
	for _, command := range []string{exe + "docker ps", exe + "kubectl get nodes"} {
		if result, err := as("dev", command); err != nil || result.Code != 0 {
			b.t.Errorf("dev: %s: %v, exit code %d\n%s", command, err, result.Code, result.Output())
		}
	}
	for _, command := range []string{
		exe + "docker -H unix:///run/boxyard/docker.sock ps",
		exe + "kubectl --kubeconfig /etc/boxyard/kubeconfig get nodes",
		"cat /etc/boxyard/kubeconfig",
	} {
		if result, err := as("nobody", command); err != nil || result.Code == 0 {
			b.t.Errorf("nobody may: %s: %v\n%s", command, err, result.Output())
		}
	}
}

func clusterDNS(b box) {
	for _, name := range []string{"kubernetes.default.svc.cluster.local", "kube-dns.kube-system.svc.cluster.local"} {
		if _, err := b.Lookup(b.t.Context(), name); err != nil {
			b.t.Errorf("lookup %s: %v", name, err)
		}
	}
	b.kubectl("run", "resolver", "--image=boxyard/base", "--restart=Never", "--command", "--", "sleep", "3600")
	defer b.kubectl("delete", "pod", "resolver", "--now")
	b.kubectl("wait", "pod/resolver", "--for=condition=Ready", "--timeout=60s")
	if out := b.kubectl("exec", "resolver", "--", "nslookup", "kubernetes.default.svc.cluster.local"); !strings.Contains(out, "10.43.0.1") {
		b.t.Errorf("a pod resolves kubernetes.default to:\n%s", out)
	}
}

func logs(b box) {
	for _, part := range []string{"containerd", "dockerd", "cluster", "dns"} {
		if out := b.boxyard("logs", part); out == "" && part != "dns" { // which has nothing to say when all is well
			b.t.Errorf("no log lines of %s", part)
		}
		if _, err := os.Stat(filepath.Join(b.LogPath("boxyard"), part+".log")); err != nil {
			b.t.Error(err)
		}
	}
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"logs", "nonsense"}})
	if err != nil {
		b.t.Fatal(err)
	}
	if result.Code == 0 || !strings.Contains(result.Stderr, "nonsense") {
		b.t.Errorf("logs of an unknown part: exit code %d\n%s", result.Code, result.Output())
	}
}

// diskReport: an image that nobody uses can go, one that a Deployment wants cannot, and both count once.
func diskReport(b box) {
	type report struct {
		Uses []struct {
			Name                    string
			Bytes, ReclaimableBytes int64
			Count, Active           int
		}
		SizeBytes, FreeBytes int64
	}
	measure := func() (all map[string][4]int64, r report) {
		b.json(&r, b.boxyard("df", "-o", "json"))
		all = map[string][4]int64{}
		for _, u := range r.Uses {
			all[u.Name] = [4]int64{u.Bytes, u.ReclaimableBytes, int64(u.Count), int64(u.Active)}
		}
		return all, r
	}
	before, r := measure()
	for _, name := range []string{"images", "build cache", "containers", "Docker's volumes", "pods", "volumes of claims", "cluster's objects", "Boxyard's programs", "Boxyard's logs"} {
		if _, ok := before[name]; !ok {
			b.t.Errorf("no row %q: %v", name, before)
		}
	}
	if r.SizeBytes == 0 || r.FreeBytes == 0 || before["cluster's objects"][0] == 0 {
		b.t.Errorf("%+v", r)
	}
	b.build("unwanted:1", server("unwanted"))
	b.build("wanted:1", server("wanted"))
	b.kubectl("create", "deployment", "wanting", "--image=wanted:1", "--replicas=0")
	b.eventually(10*time.Second, "the Deployment's image is in use, the other is not", func() error {
		after, _ := measure()
		grown := func(i int) int64 { return after["images"][i] - before["images"][i] }
		if grown(2) != 2 || grown(3) != 1 || grown(1) < 1<<20 || grown(1) >= 3<<20 { // its own megabyte, packed and unpacked
			return fmt.Errorf("%v, then %v", before["images"], after["images"])
		}
		return nil
	})
	b.kubectl("delete", "deployment", "wanting")
	b.docker("rmi", "wanted:1", "unwanted:1")
	if out := b.boxyard("df"); !strings.Contains(out, "RECLAIMABLE") || !strings.Contains(out, "The disk has ") {
		b.t.Errorf("df:\n%s", out)
	}
}
