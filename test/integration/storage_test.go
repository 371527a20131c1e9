//go:build integration

package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/boxyard/boxyard/test/harness"
)

// TestStorageAndMetrics walks one instance through volumes and measurements. Parts that only look run first, the
// last one removes the instance.
func TestStorageAndMetrics(t *testing.T) {
	b := newBox(t, harness.Options{})
	b.up()
	for _, part := range []struct {
		name string
		run  func(box)
	}{
		{"top nodes soon after the start", topNodesAtFirst},
		{"loads for the autoscalers", startLoads},
		{"classes", storageClasses},
		{"a claim waits, binds, is written", claimBinds},
		{"users, groups, paths in a volume", volumeOwners},
		{"what is refused", volumesRefused},
		{"removal", volumesRemoved},
		{"a directory deleted by hand", volumeDeletedByHand},
		{"top and explain", top},
		{"a volume's statistics", volumeIsMeasured},
		{"autoscalers", autoscalers},
		{"kill -9 of the cluster", topAfterKill},
		{"down and up", func(b box) {
			b.boxyard("down")
			b.up()
			volumeIsKept(b, "down and up")
		}},
		{"reboot", func(b box) {
			if err := b.Reboot(); err != nil {
				b.t.Fatal(err)
			}
			b.up()
			volumeIsKept(b, "a reboot")
		}},
		{"another directory, then reset", volumesElsewhere},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(box{Instance: b.Instance, t: t}) })
	}
}

// claimOf is a PersistentVolumeClaim; more are lines of its spec.
func claimOf(name, size string, more ...string) string {
	return `---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: ` + name + `}
spec:
  resources: {requests: {storage: ` + size + `}}
` + indent(append([]string{"accessModes: [ReadWriteOnce]"}, more...)...)
}

// podOf is a pod that runs a command with a claim's volume at /data; more are lines of its spec.
func podOf(name, claim, command string, more ...string) string {
	return `---
apiVersion: v1
kind: Pod
metadata: {name: ` + name + `}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: c, image: boxyard/base, command: [sh, -c, '` + command + `'], volumeMounts: [{name: v, mountPath: /data}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: ` + claim + `}}]
` + indent(more...)
}

func indent(lines ...string) string {
	text := ""
	for _, l := range lines {
		text += "  " + l + "\n"
	}
	return text
}

const rest = "exec sleep 3600"

func (b box) podReady(name string) {
	b.t.Helper()
	b.kubectl("wait", "pod/"+name, "--for=condition=Ready", "--timeout=60s")
}

// volumePath is the directory of a bound claim.
func (b box) volumePath(claim string) string {
	b.t.Helper()
	pv := b.kubectl("get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}")
	return b.kubectl("get", "pv", pv, "-o", "jsonpath={.spec.local.path}")
}

// event waits for a warning about an object that says all of the words.
func (b box) event(object string, words ...string) {
	b.t.Helper()
	b.eventually(40*time.Second, "a warning about "+object+" that says "+strings.Join(words, ", "), func() error {
		out, err := b.Kubectl(b.t.Context(), "get", "events", "-A", "--field-selector=type=Warning,involvedObject.name="+object,
			"-o", `jsonpath={range .items[*]}{.reason}: {.message}{"\n"}{end}`)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			missing := ""
			for _, w := range words {
				if !strings.Contains(line, w) {
					missing = w
				}
			}
			if missing == "" {
				b.t.Logf("%s: %s", object, strings.TrimSpace(line))
				return nil
			}
		}
		return fmt.Errorf("there is:\n%s", out)
	})
}

func (b box) gone(path string) {
	b.t.Helper()
	b.eventually(20*time.Second, path+" is removed", func() error {
		_, err := b.Run(b.t.Context(), "sh", "-c", "! test -e '"+path+"'")
		return err
	})
}

func storageClasses(b box) {
	out := b.kubectl("get", "storageclass")
	for _, want := range []string{"standard (default)", "standard-retain", "boxyard/local", "WaitForFirstConsumer"} {
		if !strings.Contains(out, want) {
			b.t.Errorf("no %q among the classes:\n%s", want, out)
		}
	}
}

// claimBinds leaves the claim `kept` with a file, for the parts that stop the platform.
func claimBinds(b box) {
	b.apply(claimOf("kept", "1Gi"))
	b.eventually(20*time.Second, "the claim waits for a pod", func() error {
		out, err := b.Kubectl(b.t.Context(), "describe", "pvc", "kept")
		if err == nil && (!strings.Contains(out, "Pending") || !strings.Contains(out, "waiting for first consumer")) {
			err = fmt.Errorf("it says:\n%s", out)
		}
		return err
	})
	b.apply(podOf("keeper", "kept", "test -e /data/file || echo kept > /data/file; "+rest))
	b.podReady("keeper")
	if got := b.kubectl("get", "pvc", "kept", "-o", "jsonpath={.status.phase} {.status.capacity.storage}"); got != "Bound 1Gi" {
		b.t.Errorf("claim: %s", got)
	}
	path := b.volumePath("kept")
	if !strings.HasPrefix(path, "/var/lib/boxyard/volumes/default_kept_pvc-") {
		b.t.Errorf("path: %s", path)
	}
	if got := b.sh("cat " + path + "/file; stat -c %a " + path + " /var/lib/boxyard/volumes"); got != "kept\n777\n700" {
		b.t.Errorf("on the host: %q", got)
	}
}

// volumeIsMeasured comes late: the kubelet measures volumes once a minute.
func volumeIsMeasured(b box) {
	b.eventually(90*time.Second, "the kubelet reports the use of the volume", func() error {
		var summary struct {
			Pods []struct {
				Volume []struct {
					PVCRef        struct{ Name string }
					CapacityBytes int64
				}
			}
		}
		b.json(&summary, b.kubectl("get", "--raw", "/api/v1/nodes/"+b.node()+"/proxy/stats/summary"))
		for _, p := range summary.Pods {
			for _, v := range p.Volume {
				if v.PVCRef.Name == "kept" && v.CapacityBytes > 0 {
					return nil
				}
			}
		}
		return errors.New("no volume of the claim among the statistics")
	})
}

func volumeOwners(b box) {
	b.apply(claimOf("owned", "10Mi", "accessModes: [ReadWriteOncePod]") + podOf("owner", "owned", "echo x > /data/file; "+rest,
		"securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000}"))
	b.podReady("owner")
	if got := b.kubectl("exec", "owner", "--", "stat", "-c", "%u %g", "/data/file"); got != "1000 2000" {
		b.t.Errorf("owner and group of a file under fsGroup: %s", got)
	}
	b.kubectl("delete", "pod", "owner", "--now")
	b.apply(claimOf("shared", "10Mi", "accessModes: [ReadWriteMany]") +
		strings.Replace(podOf("one", "shared", "echo one > /data/file; "+rest), "mountPath: /data", "mountPath: /data, subPath: a/one", 1) +
		strings.Replace(podOf("two", "shared", "echo two > /data/file; "+rest, "securityContext: {runAsUser: 1000}"), "mountPath: /data", "mountPath: /data", 1))
	b.podReady("one")
	b.podReady("two")
	if got := b.sh("cd " + b.volumePath("shared") + " && cat a/one/file file"); got != "one\ntwo" {
		b.t.Errorf("a path in the volume, and the volume: %q", got)
	}
	b.kubectl("delete", "pod", "one", "two", "--now")
	b.kubectl("delete", "pvc", "owned", "shared")
}

func volumesRefused(b box) {
	b.apply(claimOf("block", "10Mi", "volumeMode: Block") +
		strings.Replace(podOf("wants-block", "block", rest), "volumeMounts: [{name: v, mountPath: /data}]", "volumeDevices: [{name: v, devicePath: /dev/x}]", 1) +
		claimOf("huge", "900Ti") + podOf("wants-huge", "huge", rest))
	b.event("block", "ProvisioningFailed", "does not support block volume")
	b.event("huge", "ProvisioningFailed", "asks for 900Ti", "/var/lib/boxyard/volumes has ")
	result, err := b.Exec(b.t.Context(), harness.Command{Name: b.Binary, Args: []string{
		"kubectl", "patch", "pvc", "kept", "-p", `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`,
	}})
	if err != nil || result.Code == 0 || !strings.Contains(result.Stderr, "must support resize") {
		b.t.Errorf("growth of a claim: %v, exit code %d\n%s", err, result.Code, result.Output())
	}
	b.kubectl("delete", "pod", "wants-block", "wants-huge", "--now")
	b.kubectl("delete", "pvc", "block", "huge")
	if left := b.sh("ls /var/lib/boxyard/volumes | grep -e _block_ -e _huge_ || true"); left != "" {
		b.t.Errorf("left of what was refused: %s", left)
	}
}

func volumesRemoved(b box) {
	b.apply(claimOf("removed", "10Mi") + podOf("remover", "removed",
		"mkdir -p /data/a/b && touch /data/a/b/file && ln -s / /data/root && chmod 0 /data/a/b /data/a && mkdir /data/mnt; "+rest) +
		claimOf("retained", "10Mi", "storageClassName: standard-retain") + podOf("retainer", "retained", "echo x > /data/file; "+rest))
	b.podReady("remover")
	b.podReady("retainer")
	removed, retained := b.volumePath("removed"), b.volumePath("retained")
	pv := b.kubectl("get", "pvc", "removed", "-o", "jsonpath={.spec.volumeName}")
	b.kubectl("delete", "pod", "remover", "retainer", "--now")

	b.sh("mount -t tmpfs none " + removed + "/mnt && touch " + removed + "/mnt/of-others")
	b.kubectl("delete", "pvc", "removed", "retained")
	b.event(pv, "VolumeFailedDelete", "something is mounted at "+removed+"/mnt")
	b.sh("test -e " + removed + "/mnt/of-others && umount " + removed + "/mnt")
	b.gone(removed)
	b.kubectl("wait", "pv/"+pv, "--for=delete", "--timeout=30s")

	if got := b.sh("cat " + retained + "/file"); got != "x" {
		b.t.Errorf("retained: %q", got)
	}
	pv = b.kubectl("get", "pv", "-o", `jsonpath={.items[?(@.spec.local.path=="`+retained+`")].metadata.name}`)
	if got := b.kubectl("get", "pv", pv, "-o", "jsonpath={.status.phase}"); got != "Released" {
		b.t.Errorf("the volume of a retained claim is %s", got)
	}
	b.kubectl("delete", "pv", pv)
	b.sh("test -e " + retained + "/file && rm -r " + retained)
	// A volume that is deleted before its claim goes too, and with it its directory.
	b.apply(claimOf("backwards", "10Mi") + podOf("backwards", "backwards", rest))
	b.podReady("backwards")
	path := b.volumePath("backwards")
	b.kubectl("delete", "pv", "--wait=false", b.kubectl("get", "pvc", "backwards", "-o", "jsonpath={.spec.volumeName}"))
	b.kubectl("delete", "pod/backwards", "pvc/backwards", "--now")
	b.gone(path)
}

func volumeDeletedByHand(b box) {
	b.apply(claimOf("lost", "10Mi") + podOf("before", "lost", rest))
	b.podReady("before")
	path := b.volumePath("lost")
	pv := b.kubectl("get", "pvc", "lost", "-o", "jsonpath={.spec.volumeName}")
	b.kubectl("delete", "pod", "before", "--now")
	b.sh("rm -r " + path)
	b.apply(podOf("after", "lost", rest))
	b.event("after", "FailedMount", path, "does not exist")
	b.kubectl("delete", "pod", "after", "--now")
	b.kubectl("delete", "pvc", "lost")
	b.kubectl("wait", "pv/"+pv, "--for=delete", "--timeout=30s")
}

func volumeIsKept(b box, when string) {
	b.t.Helper()
	path := b.volumePath("kept")
	if got := b.sh("cat " + path + "/file"); got != "kept" {
		b.t.Errorf("after %s the file has %q", when, got)
	}
	// A pod without a controller is not started again by `up`.
	b.kubectl("delete", "pod", "keeper", "--now", "--ignore-not-found")
	b.apply(podOf("keeper", "kept", "cat /data/file; "+rest))
	b.podReady("keeper")
	if got := b.kubectl("logs", "keeper"); got != "kept" {
		b.t.Errorf("after %s a pod reads %q", when, got)
	}
}

// volumesElsewhere changes storage.path: volumes that are there stay usable, and reset removes what is in both.
func volumesElsewhere(b box) {
	const dir = "/opt/volumes"
	b.boxyard("down")
	b.sh(`printf '\nstorage:\n  path: ` + dir + `\n' >> /etc/boxyard/config.yaml; mkdir -p ` + dir + `/photos; echo x > ` + dir + `/photos/one`)
	b.up()
	b.kubectl("delete", "pod", "keeper", "--now", "--ignore-not-found")
	b.apply(claimOf("elsewhere", "10Mi") + podOf("elsewhere", "elsewhere", "echo x > /data/file; "+rest) + podOf("keeper", "kept", "cat /data/file; "+rest))
	b.podReady("elsewhere")
	b.podReady("keeper")
	path, old := b.volumePath("elsewhere"), b.volumePath("kept")
	if filepath.Dir(path) != dir {
		b.t.Errorf("path: %s", path)
	}
	b.kubectl("delete", "pod/keeper", "pvc/kept", "--now")
	b.gone(old)
	b.boxyard("reset", "--yes")
	if got := b.sh("find " + dir + " -mindepth 1"); got != dir+"/photos\n"+dir+"/photos/one" {
		b.t.Errorf("after reset %s has:\n%s", dir, got)
	}
}
