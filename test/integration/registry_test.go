//go:build integration

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// htpasswd has the user tester with the password of these tests.
const htpasswd = "tester:$2a$05$zNA5gFB1ydsaLvgI/yiQIeNbIoRBmGlnI5Rr50aQGkBWuz9nSd9fu\n"

// TestRegistry: the registry of this machine, and caches of others, from `on` to `off`.
func TestRegistry(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.sh("ip link add lan type bridge; ip addr add " + lan + "/24 dev lan; ip link set lan up; echo " + lan + " up.lan >> /etc/hosts")
	b.up()
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"off", registryOff},
		{"on", registryOn},
		{"OCI conformance", registryConformance},
		{"digests", digestTruth},
		{"bad input", registryBadInput},
		{"passwords", registryPasswords},
		{"TLS", registryTLS},
		{"prune", registryPrune},
		{"a cache", registryCache},
		{"a cache with a password and a limit", registryCacheLimited},
		{"comes back", registryComesBack},
		{"off again", registryOffAgain},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

func (b box) listens(address string) bool {
	conn, err := b.Dial(b.t.Context(), "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

func registryOff(b box) {
	if out := b.boxyard("registry", "status"); !strings.Contains(out, "The registry is off") {
		b.t.Errorf("registry status:\n%s", out)
	}
	if parts, err := b.Part("registry"); err != nil || len(parts) > 0 || b.listens("127.0.0.1:5000") {
		b.t.Errorf("something runs: %v, %v", parts, err)
	}
	for _, c := range b.status().Components {
		if c.Name == "registry" {
			b.t.Errorf("the status has %+v", c)
		}
	}
}

func registryOn(b box) {
	if out := b.boxyard("registry", "on"); !strings.Contains(out, "localhost:5000 (without TLS)") {
		b.t.Errorf("registry on:\n%s", out)
	}
	b.boxyard("registry", "on") // again is no error
	for _, address := range []string{"127.0.0.1:5000", "[::1]:5000"} {
		if !b.listens(address) {
			b.t.Errorf("nothing listens on %s", address)
		}
	}
	if b.listens(lan+":5000") || b.listens("10.42.0.1:5000") {
		b.t.Error("it listens beyond loopback")
	}
	if b.status().PIDOf("registry") == 0 {
		b.t.Error("the status lacks it")
	}
	b.publish("localhost:5000/app:1")
	b.usedByAll("localhost:5000/app:1")
}

// conformanceSuite is the OCI's own, at a commit: it has no releases yet of the form that it has now.
const conformanceSuite = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"

// registryConformance runs all that the suite has for version 1.1 of the specification, but content that is addressed by
// SHA-512, which the library takes and answers for by SHA-256.
func registryConformance(b box) {
	dir := b.t.TempDir()
	build := exec.CommandContext(b.t.Context(), "go", "install", conformanceSuite)
	build.Env = append(os.Environ(), "GOBIN="+dir, "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.t.Fatalf("build the suite: %v\n%s", err, out)
	}
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{Name: filepath.Join(dir, "conformance"), Dir: dir, Env: []string{
		"OCI_REGISTRY=localhost:5000", "OCI_TLS=disabled", "OCI_VERSION=1.1", "OCI_DATA_SHA512=false", "OCI_RESULTS_DIR=" + dir,
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	found := regexp.MustCompile(`Pass\.+: +([0-9]+)`).FindStringSubmatch(result.Stdout)
	if result.Code != 0 || !strings.Contains(result.Stdout, "OCI Conformance Result: Pass") || found == nil {
		b.t.Fatalf("exit code %d\n%s", result.Code, result.Output())
	}
	if passed, err := strconv.Atoi(found[1]); err != nil || passed < 700 {
		b.t.Errorf("only %s tests passed", found[1])
	}
	b.t.Logf("%s tests passed", found[1])
}

// digestTruth: what docker build prints is what everybody means by this image.
func digestTruth(b box) {
	const image = "localhost:5000/digest:1"
	for name, flags := range map[string][]string{
		"an index with provenance": nil,
		"a manifest alone":         {"--provenance=false"},
	} {
		file := filepath.Join(b.t.TempDir(), "metadata.json")
		b.docker(append(append([]string{"build", "--quiet", "--metadata-file", file, "--tag", image}, flags...),
			b.contextOf("FROM boxyard/base\nRUN echo "+b.t.Name()+name+" >/name\n"))...)
		var built struct {
			Digest string `json:"containerimage.digest"`
		}
		b.json(&built, b.read(file))
		b.docker("push", "--quiet", image)
		repo := b.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", image)
		if want := "localhost:5000/digest@" + built.Digest; repo != want {
			b.t.Errorf("%s: RepoDigests has %s, want %s", name, repo, want)
		}
		if id := b.docker("image", "inspect", "--format", "{{.Id}}", image); id != built.Digest {
			b.t.Errorf("%s: the image's ID is %s, the build said %s", name, id, built.Digest)
		}
		answer := b.sh("curl --silent --head --header 'Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json' http://localhost:5000/v2/digest/manifests/1")
		if !strings.Contains(answer, "Docker-Content-Digest: "+built.Digest) {
			b.t.Errorf("%s: the registry says\n%s\nwant %s", name, answer, built.Digest)
		}
		b.kubectl("run", "digest", "--image="+image, "--image-pull-policy=Always", "--restart=Never", "--", "sleep", "600")
		b.kubectl("wait", "pod/digest", "--for=condition=Ready", "--timeout=60s")
		if id := b.kubectl("get", "pod", "digest", "-o", "jsonpath={.status.containerStatuses[0].imageID}"); !strings.HasSuffix(id, "digest@"+built.Digest) {
			b.t.Errorf("%s: the pod's imageID is %s, want ...@%s", name, id, built.Digest)
		}
		b.kubectl("delete", "pod", "digest", "--now")
		b.forget(image)
		b.docker("pull", "--quiet", image)
		if id := b.docker("image", "inspect", "--format", "{{.Id}}", image); id != built.Digest {
			b.t.Errorf("%s: pulled, the image's ID is %s, want %s", name, id, built.Digest)
		}
		b.forget(image)
	}
	b.forgetBuilds()
}

func registryBadInput(b box) {
	ctx, cancel := b.limited()
	defer cancel()
	file := filepath.Join(b.t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte("tester:plain\n"), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.listen("tcp", "[::1]:5006")
	b.listen("tcp", "127.0.0.1:10242")
	before := b.boxyard("registry", "status", "-o", "json")
	for _, test := range []struct {
		code int
		says string
		args []string
	}{
		{2, "line 1 of the password file", []string{"on", "--htpasswd", file}},
		{1, "cannot be read", []string{"on", "--htpasswd", file + ".none"}},
		{1, "port 6443 is in use by cluster", []string{"on", "--port", "6443"}},
		{1, "port 5006 is in use by integration.tes", []string{"on", "--port", "5006"}},
		{1, "port 10242 is in use by integration.tes", []string{"cache", "add", "docker.io"}},
		{2, "is no registry", []string{"cache", "add", "Docker.io/x"}},
		{2, "goes with a password", []string{"cache", "add", "docker.io", "--username", "me"}},
		{1, "there is no cache of ghcr.io", []string{"cache", "rm", "ghcr.io"}},
	} {
		result, err := b.Exec(ctx, harness.Command{Name: b.Binary, Args: append([]string{"registry"}, test.args...)})
		if err != nil {
			b.t.Fatal(err)
		}
		b.refused(result, test.code, test.says)
	}
	if after := b.boxyard("registry", "status", "-o", "json"); after != before {
		b.t.Errorf("something has changed:\n%s\n%s", before, after)
	}
}

func registryPasswords(b box) {
	file := filepath.Join(b.t.TempDir(), "htpasswd")
	if err := os.WriteFile(file, []byte(htpasswd), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if out := b.boxyard("registry", "on", "--htpasswd", file); !strings.Contains(out, "with passwords") {
		b.t.Errorf("registry on:\n%s", out)
	}
	b.dockerFails("no basic auth credentials", "pull", "localhost:5000/app:1")
	if result := b.login("localhost:5000", "wrong"); result.Code == 0 {
		b.t.Errorf("a wrong password is taken:\n%s", result.Output())
	}
	if result := b.login("localhost:5000", password); result.Code != 0 {
		b.t.Fatalf("docker login: exit code %d\n%s", result.Code, result.Output())
	}
	b.docker("pull", "--quiet", "localhost:5000/app:1")
	b.forget("localhost:5000/app:1")
	b.docker("logout", "localhost:5000")
	b.kubectl("create", "secret", "docker-registry", "local", "--docker-server=localhost:5000", "--docker-username=tester", "--docker-password="+password)
	b.kubectl("run", "secret", "--image=localhost:5000/app:1", "--restart=Never", `--overrides={"spec":{"imagePullSecrets":[{"name":"local"}]}}`, "--", "true")
	b.kubectl("wait", "pod/secret", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
	b.kubectl("delete", "pod", "secret", "--now")
	b.forget("localhost:5000/app:1")
	b.boxyard("registry", "on", "--htpasswd", "")
	b.docker("pull", "--quiet", "localhost:5000/app:1")
	b.forget("localhost:5000/app:1")
}

func registryTLS(b box) {
	b.boxyard("registry", "on", "--tls")
	// Not by a build: BuildKit remembers for a while that there was no TLS.
	b.docker("pull", "--quiet", "localhost:5000/app:1")
	b.forget("localhost:5000/app:1")
	b.kubectl("run", "tls", "--image=localhost:5000/app:1", "--restart=Never", "--", "true")
	b.kubectl("wait", "pod/tls", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
	b.kubectl("delete", "pod", "tls", "--now")
	b.forget("localhost:5000/app:1")
	out := b.sh(b.Binary + " registry ca >/run/ca.pem; curl --silent --show-error --cacert /run/ca.pem https://localhost:5000/v2/_catalog")
	if !strings.Contains(out, `"app"`) {
		b.t.Errorf("the catalog over TLS: %s", out)
	}
	b.boxyard("registry", "on", "--tls=false")
	b.usedByAll("localhost:5000/app:1")
}

// registryPrune: a tag that moved on leaves something that nothing leads to.
func registryPrune(b box) {
	const image = "localhost:5000/moved:1"
	for i := range 2 {
		b.build(image, fmt.Sprintf("FROM boxyard/base\nRUN dd if=/dev/urandom of=/ballast bs=1024 count=4096; echo %d\n", i))
		b.docker("push", "--quiet", image)
		b.forget(image)
		b.forgetBuilds()
	}
	size := func() int64 {
		var state struct {
			Bytes int64 `json:"bytes"`
		}
		b.json(&state, b.boxyard("registry", "status", "-o", "json"))
		return state.Bytes
	}
	before := size()
	b.boxyard("registry", "prune")
	if freed := before - size(); freed < 4<<20 {
		b.t.Errorf("%d bytes were freed, want one of two layers of 4 MiB at least", freed)
	}
	b.usedByAll(image)
	b.usedByAll("localhost:5000/app:1")
}

// registryCache: what was pulled once comes from the cache, though its registry is gone.
func registryCache(b box) {
	const image = "up.lan:6000/kept:1"
	stop := b.startRegistryUntil("http", lan+":6000")
	b.said("up.lan:6000", "hosts.toml", "server = \"http://up.lan:6000\"\n")
	b.derived("up.lan:6000")
	b.publish(image)
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{Name: b.Binary, Args: []string{"registry", "cache", "add", "up.lan:6000", "--url", "http://up.lan:6000"}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.refused(result, 1, "says already how up.lan:6000 is reached")
	b.sh("rm -r " + certsDir + "/up.lan:6000")
	if out := b.boxyard("registry", "cache", "add", "up.lan:6000", "--url", "http://up.lan:6000", "--max-size", "1GB"); !strings.Contains(out, "up.lan:6000") {
		b.t.Errorf("registry cache add:\n%s", out)
	}
	b.derived("up.lan:6000")
	b.docker("pull", "--quiet", image)
	b.forget(image)
	// Nobody gets in without a certificate: what is kept may be somebody's secret.
	if _, err := b.Run(ctx, "curl", "--silent", "--insecure", "https://127.0.0.1:10242/up.lan:6000/v2/kept/manifests/1"); err == nil {
		b.t.Error("the cache answers to everybody")
	}
	stop()
	b.usedByAll(image)
	var state struct {
		Caches []struct {
			Bytes int64 `json:"bytes"`
		} `json:"caches"`
	}
	b.json(&state, b.boxyard("registry", "status", "-o", "json"))
	if len(state.Caches) != 1 || state.Caches[0].Bytes < 2000 {
		b.t.Errorf("the cache has %+v", state.Caches)
	}
}

// registryCacheLimited: the cache asks its registry with a password that nobody else needs, and keeps no more than its
// limit for long: it looks each minute, and lets go what nobody used in the last. What it let go is pulled again.
func registryCacheLimited(b box) {
	const host = "up.lan:6001"
	ca := newAuthority(b.t)
	cert, key := ca.issue("up.lan")
	b.startRegistryWith("https", lan+":6001", "-cert", cert, "-key", key, "-user", "tester", "-password", password)
	// The machine trusts it, and so does the cache.
	b.said(host, "ca.crt", ca.pem)
	b.sh("cat " + certsDir + "/" + host + "/ca.crt >> /etc/ssl/certs/ca-certificates.crt")
	b.derived(host)
	if result := b.login(host, password); result.Code != 0 {
		b.t.Fatalf("docker login: exit code %d\n%s", result.Code, result.Output())
	}
	images := []string{host + "/large:1", host + "/large:2"}
	for _, image := range images {
		b.build(image, "FROM boxyard/base\nRUN echo "+image+" > /name && head -c 60000000 /dev/urandom > /large\n")
		b.docker("push", "--quiet", image)
		b.forget(image)
		b.forgetBuilds()
	}
	b.docker("logout", host)
	b.sh("rm -r " + certsDir + "/" + host)
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{
		Name: b.Binary, Args: []string{"registry", "cache", "add", host, "--username", "tester", "--password-stdin", "--max-size", "100MB"},
		Stdin: strings.NewReader(password + "\n"),
	})
	if err != nil || result.Code != 0 || strings.Contains(result.Output(), password) {
		b.t.Fatalf("registry cache add: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	b.derived(host)
	for _, image := range images {
		if out := b.docker("pull", image); !strings.Contains(out, "Pull complete") || !strings.Contains(out, "Downloaded newer image") {
			b.t.Errorf("a pull shows no progress:\n%s", out)
		}
		b.forget(image)
	}
	b.eventually(150*time.Second, "the cache is within its limit", func() error {
		var state struct {
			Caches []struct {
				Registry string `json:"registry"`
				Bytes    int64  `json:"bytes"`
			} `json:"caches"`
		}
		out := b.boxyard("registry", "status", "-o", "json")
		if strings.Contains(out, password) {
			b.t.Fatalf("the status tells the password:\n%s", out)
		}
		b.json(&state, out)
		for _, c := range state.Caches {
			if c.Registry == host && c.Bytes > 0 && c.Bytes <= 100_000_000 {
				return nil
			}
		}
		return fmt.Errorf("%+v", state.Caches)
	})
	for _, image := range images {
		b.usedByAll(image)
	}
	b.boxyard("registry", "cache", "rm", host)
}

// registryComesBack: from the death of its process, and from a restart of everything.
func registryComesBack(b box) {
	if n, err := b.Kill("registry"); err != nil || n != 1 {
		b.t.Fatalf("killed %d, %v", n, err)
	}
	b.eventually(20*time.Second, "it answers after kill -9", func() error {
		if !b.listens("127.0.0.1:5000") {
			return errors.New("nothing listens")
		}
		return nil
	})
	b.boxyard("down")
	b.up()
	b.usedByAll("localhost:5000/app:1")
	b.usedByAll("up.lan:6000/kept:1")
}

func registryOffAgain(b box) {
	b.boxyard("registry", "off")
	if b.listens("127.0.0.1:5000") {
		b.t.Error("it still listens")
	}
	if out := b.boxyard("registry", "status"); !strings.Contains(out, "The registry is off") || !strings.Contains(out, "up.lan:6000") {
		b.t.Errorf("registry status:\n%s", out)
	}
	b.usedByAll("up.lan:6000/kept:1")
	b.boxyard("registry", "cache", "rm", "up.lan:6000")
	b.eventually(10*time.Second, "nothing is left of it", func() error {
		parts, err := b.Part("registry")
		if err != nil || len(parts) > 0 || b.listens("127.0.0.1:10242") {
			return fmt.Errorf("there runs %v, %w", parts, err)
		}
		return b.Inside(func() error {
			if _, err := os.Stat(filepath.Join(certsDir, "up.lan:6000")); !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("its mirror: %w", err)
			}
			return nil
		})
	})
	b.boxyard("registry", "on")
	b.usedByAll("localhost:5000/app:1")
}
