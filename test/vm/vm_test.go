//go:build vm

package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const dockerfile = `FROM boxyard/base AS words
ARG VERSION=1
RUN mkdir /www && echo "hello $VERSION" > /www/index.html
FROM boxyard/base
COPY --from=words /www /www
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
`

// TestMachine walks one machine through its life: install, use, faults, reboot, power cut.
func TestMachine(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root, to make the disk image; try: sudo make test-vm")
	}
	repo, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(repo, "build", "vm")
	build := exec.CommandContext(t.Context(), "./image.sh", image)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make the image: %v\n%s", err, out)
	}
	m := newMachine(t, image)
	m.boot()
	m.run("root", "stat -fc %T /sys/fs/cgroup | grep cgroup2fs; systemctl --version | head -1; uname -r")

	m.run("root", "ufw allow ssh && ufw --force enable")
	m.put("dev", filepath.Join(repo, "bin", "boxyard"), "/home/dev/boxyard", 0o755)
	if out, err := m.try(35*time.Minute, "dev", "sudo ./boxyard install --timeout 30m"); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	m.ready("after install")
	m.use()
	m.killMatrix()
	m.serviceStop()
	m.run("root", "ufw --force disable && systemctl enable --now firewalld && firewall-cmd --state")
	m.reachable("with firewalld")

	m.run("dev", "docker run -d --name kept --restart always hello:1")
	m.run("root", "sync")
	m.shutdown()
	m.boot()
	m.ready("after a reboot")
	m.running("after a reboot")
	m.reachable("after a reboot, with firewalld from the start")
	m.eventually(3*time.Minute, "the container with a restart policy runs after a reboot", func() error {
		return m.expect("dev", "docker inspect -f {{.State.Running}} kept", "true")
	})

	acknowledged := m.writeUntilPowerCut(60 * time.Second)
	m.boot()
	m.ready("after a power cut")
	m.everyWrite(acknowledged)
	m.running("after a power cut")
	m.run("dev", "sudo boxyard uninstall && sudo boxyard reset --yes")
	m.run("root", "test ! -e /var/lib/boxyard && ! ip link show boxyard0 2>/dev/null && ! nft list tables | grep -q boxyard")
}

// ready waits for a platform whose every part is ready. The guest has no acceleration: minutes are normal.
func (m *machine) ready(when string) {
	m.t.Helper()
	var status string
	m.eventually(20*time.Minute, "boxyard is ready "+when, func() (err error) {
		if status, err = m.try(time.Minute, "dev", "boxyard status"); err != nil {
			return fmt.Errorf("%w\n%s", err, status)
		}
		return nil
	})
	m.t.Logf("%s:\n%s", when, status)
}

// use is the short demo, by a user who is not root and uses no sudo.
func (m *machine) use() {
	m.t.Helper()
	m.putReader("dev", strings.NewReader(dockerfile), "/home/dev/hello/Dockerfile", 0o644)
	m.run("dev", "docker version && kubectl version && docker build -t hello:1 hello && docker build --build-arg VERSION=2 -t hello:2 hello && docker build -t hello hello")
	m.run("dev", "docker run -d --rm --name web -p 127.0.0.1:8080:8080 hello:1")
	m.eventually(time.Minute, "the published port answers", func() error { return m.expect("dev", "curl -s http://127.0.0.1:8080/", "hello 1") })
	m.run("dev", "docker stop -t 1 web")
	m.run("dev", "kubectl create deployment hello --image=hello:1 --replicas=2 && kubectl expose deployment hello --port=80 --target-port=8080 && kubectl rollout status deployment/hello --timeout=5m")
	m.running("after the deployment")
	m.run("dev", "kubectl set image deployment/hello hello=hello:2 && kubectl rollout status deployment/hello --timeout=5m")
	m.eventually(time.Minute, "version 2 answers", func() error {
		return m.expect("dev", "curl -s http://$(kubectl get service hello -o jsonpath={.spec.clusterIP})/", "hello 2")
	})
	m.run("dev", "kubectl create deployment nolatestsurprise --image=hello && kubectl rollout status deployment/nolatestsurprise --timeout=5m")
	m.run("dev", "kubectl exec deploy/hello -- nslookup hello.default.svc.cluster.local")
	m.run("dev", "kubectl get node -o wide")
}

// running expects the deployment to answer through its Service.
func (m *machine) running(when string) {
	m.t.Helper()
	m.eventually(5*time.Minute, "the deployment answers "+when, func() error {
		out, err := m.try(time.Minute, "dev", "kubectl rollout status deployment/hello --timeout=30s && curl -sf http://$(kubectl get service hello -o jsonpath={.spec.clusterIP})/")
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
}

// reachable expects that no firewall stands between a pod, a Service, its name and a published port.
func (m *machine) reachable(when string) {
	m.t.Helper()
	m.run("dev", "docker run -d --name published -p 8081:8080 hello:1")
	m.eventually(2*time.Minute, "the published port answers "+when, func() error {
		return m.expect("dev", "curl -s http://127.0.0.1:8081/", "hello 1")
	})
	m.eventually(2*time.Minute, "a pod reaches a Service by name "+when, func() error {
		return m.expect("dev", "kubectl exec deploy/nolatestsurprise -- wget -qO- http://hello.default.svc.cluster.local/", "hello 2")
	})
	m.running(when)
	m.run("dev", "docker rm -f published")
}

// killMatrix kills each part and then the daemon; a container and the pods' own processes live on.
func (m *machine) killMatrix() {
	m.t.Helper()
	m.run("dev", "docker run -d --name steady hello:1")
	pid := m.run("dev", "docker inspect -f {{.State.Pid}} steady")
	for _, part := range []string{"containerd", "dockerd", "cluster", "dns"} {
		m.run("root", fmt.Sprintf(`kill -9 $(boxyard status -o json | tr -d ' \n' | sed 's/.*"name":"%s"[^}]*"pid":\([0-9]*\).*/\1/')`, part))
		m.ready("after kill -9 of " + part)
	}
	m.run("root", "kill -9 $(systemctl show -p MainPID --value boxyard)")
	m.ready("after kill -9 of the daemon")
	if now := m.run("dev", "docker inspect -f {{.State.Pid}} steady"); now != pid {
		m.t.Errorf("the container was restarted: pid %s, then %s", pid, now)
	}
	m.running("after the kill matrix")
	m.run("dev", "docker rm -f steady")
}

// serviceStop holds what the documentation says of `systemctl stop`: the parts end, containers and pods stay.
func (m *machine) serviceStop() {
	m.t.Helper()
	m.run("dev", "docker run -d --name stays hello:1")
	pid := m.run("dev", "docker inspect -f {{.State.Pid}} stays")
	m.run("root", "systemctl stop boxyard")
	m.run("root", "kill -0 "+pid)
	m.run("root", "systemctl start boxyard")
	m.ready("after systemctl stop and start")
	if now := m.run("dev", "docker inspect -f {{.State.Pid}} stays"); now != pid {
		m.t.Errorf("systemctl stop restarted the container: pid %s, then %s", pid, now)
	}
	m.run("dev", "docker rm -f stays")
}

// writeUntilPowerCut creates objects for the given time, pulls the plug in the middle of it and
// returns the names that the API server had acknowledged until then.
func (m *machine) writeUntilPowerCut(length time.Duration) []string {
	m.t.Helper()
	const writer = `cd /var/lib/boxyard/pki; for i in $(seq 100000); do
body="{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"write-$i\"}}"
code=$(curl -s -o /dev/null -w '%{http_code}' --cacert ca.crt --cert admin.crt --key admin.key -H 'Content-Type: application/json' -d "$body" https://127.0.0.1:6443/api/v1/namespaces/default/configmaps)
[ "$code" = 201 ] && echo write-$i; done`
	ctx, cancel := context.WithTimeout(m.t.Context(), length+time.Minute)
	defer cancel()
	cmd := m.ssh(ctx, "root", writer)
	out, err := cmd.StdoutPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	time.AfterFunc(length, m.powerCut)
	var acknowledged []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		acknowledged = append(acknowledged, lines.Text())
	}
	cancel()
	_ = cmd.Wait()
	<-m.ended
	if len(acknowledged) < 10 {
		m.t.Fatalf("only %d writes were acknowledged before the power cut", len(acknowledged))
	}
	m.t.Logf("%d writes acknowledged before the power cut", len(acknowledged))
	return acknowledged
}

func (m *machine) everyWrite(acknowledged []string) {
	m.t.Helper()
	found := make(map[string]bool)
	for name := range strings.Lines(m.run("dev", "kubectl get configmaps -o name")) {
		found[strings.TrimPrefix(strings.TrimSpace(name), "configmap/")] = true
	}
	for _, name := range acknowledged {
		if !found[name] {
			m.t.Errorf("%s was acknowledged before the power cut and is lost", name)
		}
	}
}

func (m *machine) expect(user, command, want string) error {
	out, err := m.try(time.Minute, user, command)
	if err != nil {
		return err
	}
	if out != want {
		return errors.New("got " + out + ", want " + want)
	}
	return nil
}
