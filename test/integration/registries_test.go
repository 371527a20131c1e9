//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

const (
	certsDir = "/etc/docker/certs.d"
	// lan is an address that is not loopback: there neither dockerd nor containerd asks for TLS.
	lan      = "198.51.100.10"
	password = "a-password-of-a-test"
)

// TestRegistries: what /etc/docker/certs.d says holds for docker, for BuildKit and for the kubelet, from one second to
// the next, and a registry's bad day is told as what it is.
func TestRegistries(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.sh("ip link add lan type bridge; ip addr add " + lan + "/24 dev lan; ip link set lan up; " +
		"for name in private plain mirror known faulty; do echo " + lan + " $name.lan >> /etc/hosts; done")
	b.up()
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"a private one", privateRegistry},
		{"one without TLS", plainRegistry},
		{"a mirror of Docker Hub", mirrorOfHub},
		{"client certificates", clientCertificates},
		{"what cannot be read", unreadableRegistry},
		{"faults of pulls", pullFaults},
		{"faults of pushes", pushFaults},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

// said writes a file that the user would write.
func (b box) said(host, file, content string) {
	b.t.Helper()
	err := b.Inside(func() error {
		dir := filepath.Join(certsDir, host)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644)
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// derived waits until CRI's directory has it, which is for a second at most.
func (b box) derived(host string) {
	b.t.Helper()
	b.eventually(time.Second, host+" is known to the kubelet's containerd", func() error {
		return b.Inside(func() error {
			_, err := os.Stat(filepath.Join("/run/boxyard/registries", host, "hosts.toml"))
			return err
		})
	})
}

// dockerFails wants a docker command to fail with these words.
func (b box) dockerFails(words string, args ...string) {
	b.t.Helper()
	result := b.try(args...)
	if result.Code == 0 || !strings.Contains(result.Output(), words) {
		b.t.Errorf("docker %s: exit code %d, and no %q in:\n%s", strings.Join(args, " "), result.Code, words, result.Output())
	}
}

func (b box) login(registry, word string) harness.Result {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{
		Name: b.Binary, Args: []string{"docker", "login", "--username", "tester", "--password-stdin", registry}, Stdin: strings.NewReader(word),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// usedByAll wants an image of a registry to be had by docker pull, by a build and by a pod, each of which finds
// nothing of it here. It leaves nothing.
func (b box) usedByAll(image string, pod ...string) {
	b.t.Helper()
	b.docker("pull", "--quiet", image)
	b.forget(image)
	b.build("from-registry", "FROM "+image+"\nRUN true\n")
	b.forget("from-registry", image)
	b.forgetBuilds()
	b.kubectl(append([]string{"run", "puller", "--image=" + image, "--restart=Never"}, append(pod, "--", "true")...)...)
	b.kubectl("wait", "pod/puller", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
	b.kubectl("delete", "pod", "puller", "--now")
	b.forget(image)
}

// forget takes images away that may not be there.
func (b box) forget(images ...string) {
	b.t.Helper()
	for _, image := range images {
		if b.docker("images", "--quiet", image) != "" {
			b.docker("rmi", "--force", image)
		}
	}
}

// forgetBuilds takes away what builds keep: their cache, and the records of what they made.
func (b box) forgetBuilds() {
	b.t.Helper()
	b.docker("builder", "prune", "--all", "--force")
	b.docker("buildx", "history", "rm", "--all")
}

// publish pushes a new image and forgets it.
func (b box) publish(image string) {
	b.t.Helper()
	b.build(image, "FROM boxyard/base\nRUN echo "+image+" >/name\n")
	b.docker("push", "--quiet", image)
	b.forget(image)
	b.forgetBuilds()
}

func privateRegistry(b box) {
	const host = "private.lan:5000"
	ca := newAuthority(b.t)
	cert, key := ca.issue("private.lan")
	b.startRegistryWith("https", lan+":5000", "-cert", cert, "-key", key, "-user", "tester", "-password", password)
	b.dockerFails("certificate signed by unknown authority", "pull", host+"/app:1")
	b.said(host, "ca.crt", ca.pem)
	b.derived(host)
	if result := b.login(host, "wrong"); result.Code == 0 || !strings.Contains(result.Output(), "401 Unauthorized") {
		b.t.Errorf("a wrong password: exit code %d\n%s", result.Code, result.Output())
	}
	b.dockerFails("no basic auth credentials", "pull", host+"/app:1")
	b.pullingFails(host+"/app:1", "without credentials its registry answers: ")
	if result := b.login(host, password); result.Code != 0 {
		b.t.Fatalf("docker login: exit code %d\n%s", result.Code, result.Output())
	}
	b.publish(host + "/app:1")
	b.kubectl("create", "secret", "docker-registry", "pull", "--docker-server="+host, "--docker-username=tester", "--docker-password="+password)
	b.usedByAll(host+"/app:1", `--overrides={"spec":{"imagePullSecrets":[{"name":"pull"}]}}`)
	b.docker("logout", host)
}

func plainRegistry(b box) {
	const host = "plain.lan:5001"
	b.startRegistryWith("http", lan+":5001")
	b.dockerFails("server gave HTTP response to HTTPS client", "pull", host+"/app:1")
	b.said(host, "hosts.toml", "server = \"http://"+host+"\"\n")
	b.derived(host)
	b.eventually(5*time.Second, "docker login knows that it has no TLS", func() error {
		if result := b.login(host, password); result.Code != 0 {
			return fmt.Errorf("exit code %d: %s", result.Code, result.Output())
		}
		return nil
	})
	b.publish(host + "/app:1")
	b.usedByAll(host + "/app:1")
	b.docker("logout", host)
}

// mirrorOfHub: nothing else can be reached here, so what is pulled comes from the mirror.
func mirrorOfHub(b box) {
	const mirror = "mirror.lan:5002"
	b.startRegistryWith("http", lan+":5002")
	b.said(mirror, "hosts.toml", "server = \"http://"+mirror+"\"\n")
	b.publish(mirror + "/library/mirrored:1")
	b.publish(mirror + "/somebody/mirrored:1")
	b.said("docker.io", "hosts.toml", "[host.\"http://"+mirror+"\"]\n  capabilities = [\"pull\", \"resolve\", \"referrers\"]\n")
	b.derived("docker.io")
	b.usedByAll("mirrored:1")
	b.usedByAll("somebody/mirrored:1")
	b.sh("rm -r " + certsDir + "/docker.io")
	b.eventually(time.Second, "the mirror is forgotten", func() error {
		return b.Inside(func() error {
			if _, err := os.Stat("/run/boxyard/registries/docker.io"); err == nil {
				return fmt.Errorf("it is still there")
			}
			return nil
		})
	})
}

func clientCertificates(b box) {
	const host = "known.lan:5003"
	ca := newAuthority(b.t)
	cert, key := ca.issue("known.lan")
	client, clientKey := ca.issue("a client")
	b.startRegistryWith("", lan+":5003", "-cert", cert, "-key", key, "-client-ca", ca.file)
	b.said(host, "ca.crt", ca.pem)
	b.eventually(10*time.Second, "the registry wants a certificate", func() error {
		_, err := b.Docker(b.t.Context(), "pull", host+"/app:1")
		if err == nil || !strings.Contains(err.Error(), "certificate required") {
			return fmt.Errorf("docker pull: %w", err)
		}
		return nil
	})
	b.said(host, "client.cert", b.read(client))
	b.said(host, "client.key", b.read(clientKey))
	b.derived(host)
	b.publish(host + "/app:1")
	b.usedByAll(host + "/app:1")
}

// unreadableRegistry: the others go on, and the status says what is wrong where.
func unreadableRegistry(b box) {
	b.said("wrong.lan", "hosts.toml", "server = \"https://wrong.lan\"\ncapabilities = [\"pul\"]\n")
	warning := func() string {
		for _, c := range b.status().Components {
			if c.Name == "registries" {
				return c.Warning
			}
		}
		return ""
	}
	b.eventually(5*time.Second, "the status warns", func() error {
		if w := warning(); !strings.Contains(w, "wrong.lan/hosts.toml") || !strings.Contains(w, `"pul"`) {
			return fmt.Errorf("the warning is %q", w)
		}
		return nil
	})
	b.startRegistryWith("http", lan+":5001")
	b.publish("plain.lan:5001/app:1")
	b.usedByAll("plain.lan:5001/app:1")
	b.sh("rm -r " + certsDir + "/wrong.lan")
	b.eventually(5*time.Second, "the status does not warn any more", func() error {
		if w := warning(); w != "" {
			return fmt.Errorf("the warning is %q", w)
		}
		return nil
	})
}

const (
	faultyHost = "faulty.lan:5004"
	faultyAt   = lan + ":5004"
)

func pullFaults(b box) {
	b.startFaulty()
	image := b.pushBig("big")
	for kind, words := range map[string]string{
		"lie-manifest": "unexpected", // a body that is not JSON any more, or a digest that is not its
		"lie-blob":     "digest",
		"429":          "429 Too Many Requests",
		"500":          "500 Internal Server Error",
	} {
		b.fault(kind)
		b.dockerFails(words, "pull", image)
		b.dockerFails(words, "build", "--tag", "never", "--pull", b.contextOf("FROM "+image+"\n"))
		b.pullingFails(image, words)
		if left := b.docker("images", "--quiet", image); left != "" {
			b.t.Errorf("%s: an image is there after a pull that failed", kind)
		}
	}
	b.interruptsAtOnce(image)
	b.fault("")
	b.eventually(90*time.Second, "what was sent wrong is pulled anew", func() error {
		_, err := b.Docker(b.t.Context(), "pull", "--quiet", image)
		return err
	})
	b.forget(image)
	// Another one: of the first, layers may be kept for the next pull, as moby does after one that failed.
	image = b.pushBig("cut")
	b.fault("cut-blob")
	before := len(b.requests())
	b.docker("pull", "--quiet", image)
	if log := b.requests()[before:]; !strings.Contains(log, `"bytes=`) {
		b.t.Errorf("the pull did not go on where it broke off:\n%s", log)
	}
	if out := b.docker("run", "--rm", image, "sh", "-c", "wc -c </ballast"); out != "4194304" {
		b.t.Errorf("the file of an image whose pull broke off has %s bytes", out)
	}
	b.forget(image)
	b.fault("")
}

// pushBig builds an image with a file of four megabytes, and leaves it in the registry only.
func (b box) pushBig(name string) string {
	b.t.Helper()
	image := faultyHost + "/" + name + ":1"
	b.build(image, "FROM boxyard/base\nRUN echo "+name+" >/name && dd if=/dev/urandom of=/ballast bs=1024 count=4096\n")
	b.docker("push", "--quiet", image)
	b.forget(image)
	b.forgetBuilds()
	return image
}

// interruptsAtOnce: the user does not have to wait for a registry that does not answer.
func (b box) interruptsAtOnce(image string) {
	b.t.Helper()
	b.fault("hang")
	cmd := b.Prepare(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{"docker", "pull", image}})
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := b.StartProcess(cmd); err != nil {
		b.t.Fatal(err)
	}
	b.eventually(10*time.Second, "the registry is asked", func() error {
		if log := b.requests(); !strings.Contains(log, "big") && out.String() == "" {
			return fmt.Errorf("it was asked:\n%s", log)
		}
		return nil
	})
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		b.t.Fatal(err)
	}
	_ = cmd.Wait()
	if took := time.Since(start); took > 5*time.Second {
		b.t.Errorf("Ctrl-C took %v", took)
	}
}

func pushFaults(b box) {
	image := faultyHost + "/pushed:1"
	b.startFaulty()
	b.build(image, "FROM boxyard/base\nRUN dd if=/dev/urandom of=/ballast bs=1024 count=2048\n")
	b.fault("cut-push")
	ctx, cancel := b.limited()
	defer cancel()
	result, err := b.Exec(ctx, harness.Command{Name: b.Binary, Args: []string{"docker", "push", image}})
	if err != nil || result.Code == 0 {
		b.t.Errorf("a push that breaks off: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	b.fault("")
	b.docker("push", "--quiet", image)
	b.forget(image)
	b.docker("pull", "--quiet", image)
	b.forget(image)
	b.forgetBuilds()
}

// startFaulty starts a registry in memory for this part of the test.
func (b box) startFaulty() {
	b.t.Helper()
	b.startRegistryWith("http", faultyAt)
	b.said(faultyHost, "hosts.toml", "server = \"http://"+faultyHost+"\"\n")
	b.derived(faultyHost)
}

func (b box) fault(kind string) {
	b.t.Helper()
	if code, _, err := b.Get(b.t.Context(), "http://"+faultyAt+"/_fault?kind="+kind); err != nil || code != 200 {
		b.t.Fatalf("fault %s: status %d, %v", kind, code, err)
	}
}

func (b box) requests() string {
	b.t.Helper()
	_, log, err := b.Get(b.t.Context(), "http://"+faultyAt+"/_log")
	if err != nil {
		b.t.Fatal(err)
	}
	return log
}

// pullingFails wants a pod's events to say why its image cannot be had.
func (b box) pullingFails(image, words string) {
	b.t.Helper()
	b.kubectl("delete", "events", "--all")
	b.kubectl("run", "unlucky", "--image="+image, "--restart=Never")
	defer b.kubectl("delete", "pod", "unlucky", "--now")
	b.eventually(45*time.Second, "an event says "+words, func() error {
		events := b.kubectl("get", "events", "--field-selector=involvedObject.name=unlucky,type=Warning", "-o", "jsonpath={.items[*].message}")
		if !strings.Contains(events, words) {
			return fmt.Errorf("the events: %s", events)
		}
		return nil
	})
}

// contextOf is a build context with a Dockerfile and nothing else.
func (b box) contextOf(dockerfile string) string {
	b.t.Helper()
	return b.context(map[string]string{"Dockerfile": dockerfile})
}

func (b box) read(file string) string {
	b.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data)
}

// startRegistryWith runs test/registry until the test ends, and waits until it answers by this scheme; "" does not ask.
func (b box) startRegistryWith(scheme, address string, flags ...string) {
	b.t.Helper()
	b.t.Cleanup(b.startRegistryUntil(scheme, address, flags...))
}

// startRegistryUntil is startRegistryWith until stop is called.
func (b box) startRegistryUntil(scheme, address string, flags ...string) (stop func()) {
	b.t.Helper()
	program := filepath.Join(b.t.TempDir(), "registry")
	b.compile(program, "../registry")
	var out lockedBuffer
	cmd := b.Prepare(context.Background(), harness.Command{Name: program, Args: append(flags, address)})
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := b.StartProcess(cmd); err != nil {
		b.t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	b.eventually(10*time.Second, "the registry listens", func() error {
		conn, err := b.Dial(b.t.Context(), "tcp", address)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out.String())
		}
		return conn.Close()
	})
	if scheme != "http" {
		return stop
	}
	if code, _, err := b.Get(b.t.Context(), "http://"+address+"/v2/"); err != nil || code != 200 {
		b.t.Fatalf("the registry: status %d, %v", code, err)
	}
	return stop
}
