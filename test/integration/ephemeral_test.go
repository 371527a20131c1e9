//go:build integration

package integration

import (
	"strings"
	"testing"

	"github.com/boxyard/boxyard/test/harness"
)

// TestEphemeral: a machine for one CI job does not wait for the disk, says so, and can be made one to keep, but not
// the other way round.
func TestEphemeral(t *testing.T) {
	b := newBox(t, harness.Options{})
	const warning = "a power cut may lose everything"
	if out := b.up("--ephemeral"); !strings.Contains(out, warning) {
		t.Errorf("it does not say what it risks:\n%s", out)
	}
	unsynced := func() string {
		return b.sh("grep -c 'no_sync = true' /run/boxyard/containerd/config.toml; grep -c '\"ephemeral\": true' /run/boxyard/cluster/cluster.json; true")
	}
	if got := strings.Fields(unsynced()); len(got) != 2 || got[0] != "1" || got[1] != "1" {
		t.Errorf("containerd and etcd wait for the disk: %q", got)
	}
	b.docker("run", "--detach", "--name", "stays", "boxyard/base", "sleep", "600")
	b.kubectl("create", "configmap", "stays")

	b.boxyard("down")
	if out := b.up(); strings.Contains(out, warning) {
		t.Errorf("kept from now on, and it says:\n%s", out)
	}
	if got := strings.Fields(unsynced()); len(got) != 2 || got[0] != "0" || got[1] != "0" {
		t.Errorf("kept from now on, and containerd or etcd does not wait for the disk: %q", got)
	}
	b.docker("inspect", "stays")
	b.kubectl("get", "configmap", "stays")

	b.boxyard("down")
	result, err := b.Up(t.Context(), "--ephemeral")
	if err != nil {
		t.Fatal(err)
	}
	b.refused(result, 2, "ephemeral", "boxyard reset")
	b.up()
}
