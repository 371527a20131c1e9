package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadRefuses(t *testing.T) {
	good, err := os.ReadFile("../../../internal/component/cluster/testdata/cluster.json")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ content, want string }{
		"an unknown key":  {strings.Replace(string(good), `"nodeName"`, `"nodename2"`, 1), "nodename2"},
		"a wrong type":    {strings.Replace(string(good), `"apiPort": 6443`, `"apiPort": "6443"`, 1), "apiPort"},
		"a second value":  {string(good) + "{}", "more than one"},
		"too few sizes":   {strings.Replace(string(good), "    22,\n", "", 1), "nodeCIDRMaskSizes"},
		"no node address": {`{"nodeName":"a"}`, "nodeIPs"},
		"no audit log":    {strings.NewReplacer(`"enabled": false`, `"enabled": true`, "/var/log/boxyard/audit/audit.log", "").Replace(string(good)), "audit.logFile"},
		"too many pools":  {strings.Replace(string(good), `"10.46.0.0/24",`, `"10.46.0.0/24", "10.47.0.0/24",`, 1), "loadBalancerPools"},
		"node ports":      {strings.Replace(string(good), `"nodePorts": "all"`, `"nodePorts": "some"`, 1), "nodePorts"},
		"nothing":         {"", "decode"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cluster.json")
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := LoadCluster(file); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v does not tell of %q", err, test.want)
			}
		})
	}
}
