package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/boxyard/boxyard/internal/fault"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	with := func(change func(*Config)) Config {
		c := Default()
		change(&c)
		return c
	}
	tests := map[string]struct {
		content string
		want    Config
	}{
		"empty":         {"", Default()},
		"only comments": {"# nothing yet\n", Default()},
		"a port":        {"apiPort: 6444\n", with(func(c *Config) { c.APIPort = 6444 })},
		"the rest of a group keeps its defaults": {
			"network:\n  podCIDR: 10.60.0.0/16\n",
			with(func(c *Config) { c.Network.PodCIDR = "10.60.0.0/16" }),
		},
		"off is a word here":      {"network: {ipv6: off}\ndocker: {socket: on}\n", with(func(c *Config) { c.Network.IPv6, c.Docker.Socket = "off", "on" })},
		"a key without a value":   {"nodeName:\nlog:\n", Default()},
		"a switch":                {"audit: {enabled: true}\n", with(func(c *Config) { c.Audit.Enabled = true })},
		"a list":                  {"without: [cluster]\n", with(func(c *Config) { c.Without = []string{"cluster"} })},
		"JSON is YAML":            {`{"nodeName": "laptop-7"}`, with(func(c *Config) { c.NodeName = "laptop-7" })},
		"a place for volumes":     {"storage: {path: /srv/volumes}\n", with(func(c *Config) { c.Storage.Path = "/srv/volumes" })},
		"the default for volumes": {"storage: {path: /var/lib/boxyard/volumes}\n", Default()},
		"a quoted number is text": {`nodeName: "42"`, with(func(c *Config) { c.NodeName = "42" })},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Load(writeFile(t, tt.content))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoadMissingFileIsDefault(t *testing.T) {
	got, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := map[string]struct {
		content       string
		summary, hint []string // parts that the error must have
	}{
		"unknown key":           {"apiport: 1\n", []string{"unknown key apiport"}, []string{"did you mean apiPort?"}},
		"misspelt in a group":   {"network: {podCidr: 10.0.0.0/16}\n", []string{"network.podCidr"}, []string{"network.podCIDR?"}},
		"in the wrong group":    {"podCIDR: 10.0.0.0/16\n", []string{"unknown key podCIDR"}, []string{"network.podCIDR?"}},
		"nothing near":          {"colour: blue\n", []string{"unknown key colour"}, []string{"the keys are: apiPort, nodeName"}},
		"twice the same key":    {"apiPort: 1\napiPort: 2\n", []string{"not valid YAML", "apiPort"}, nil},
		"corrupt":               {"apiPort: [1\n", []string{"not valid YAML", "line"}, []string{"remove the file"}},
		"binary":                {"\x00\x01\x02", []string{"not valid YAML"}, nil},
		"a list at the top":     {"- a\n", []string{"holds a list"}, []string{"apiPort: 6443"}},
		"a word for a number":   {"apiPort: many\n", []string{`apiPort is "many"`}, []string{"a whole number"}},
		"a fraction":            {"apiPort: 1.5\n", []string{"apiPort is 1.5"}, []string{"a whole number"}},
		"a number for text":     {"nodeName: 7\n", []string{"nodeName is 7"}, []string{"in quotes"}},
		"a boolean for text":    {"nodeName: yes\n", []string{"nodeName is true"}, []string{"in quotes"}},
		"a value for a group":   {"network: 10.0.0.0/8\n", []string{"network is"}, []string{"podCIDR"}},
		"a group for a value":   {"apiPort: {a: 1}\n", []string{"apiPort is a group of keys"}, nil},
		"a word for a list":     {"without: cluster\n", []string{`without is "cluster"`}, []string{"[cluster, docker]"}},
		"a number in a list":    {"without: [1]\n", []string{"without[0] is 1"}, nil},
		"front door":            {"frontDoor: {port: 70000}\n", []string{"frontDoor.port is 70000"}, []string{"0 to leave the front door out"}},
		"front door's port":     {"frontDoor: {port: 6443}\n", []string{"frontDoor.port is 6443"}, nil},
		"port 0":                {"apiPort: 0\n", []string{"apiPort is 0"}, []string{"1 to 65535"}},
		"negative port":         {"apiPort: -1\n", []string{"apiPort is -1"}, nil},
		"the kubelet's port":    {"apiPort: 10250\n", []string{"apiPort is 10250"}, nil},
		"node name":             {"nodeName: My_Laptop\n", []string{`"My_Laptop"`}, []string{"lower-case"}},
		"long node name":        {"nodeName: " + strings.Repeat("a", 64) + "\n", []string{"nodeName"}, []string{"63"}},
		"group":                 {"group: a b\n", []string{`group is "a b"`}, nil},
		"cgroup root":           {"cgroupRoot: ../x\n", []string{"cgroupRoot"}, nil},
		"unknown part":          {"without: [clusters]\n", []string{`without is "clusters"`}, []string{"did you mean cluster?"}},
		"ipv6":                  {"network: {ipv6: maybe}\n", []string{`network.ipv6 is "maybe"`}, []string{"auto, on or off"}},
		"volumes, relative":     {"storage: {path: volumes}\n", []string{`storage.path is "volumes"`}, []string{"absolute"}},
		"volumes, not clean":    {"storage: {path: /srv/../etc}\n", []string{"storage.path"}, nil},
		"volumes of the system": {"storage: {path: /etc/volumes}\n", []string{"storage.path"}, []string{"/srv/volumes"}},
		"volumes everywhere":    {"storage: {path: /}\n", []string{"storage.path"}, nil},
		"volumes in our data":   {"storage: {path: /var/lib/boxyard/pki}\n", []string{"storage.path"}, nil},
		"volumes, two lines":    {"storage: {path: \"/srv/a\\nb\"}\n", []string{"storage.path"}, nil},
		"socket":                {"docker: {socket: never}\n", []string{"docker.socket"}, nil},
		"long bridge name":      {"network: {bridge: abcdefghijklmnop}\n", []string{"network.bridge"}, []string{"1 to 15"}},
		"empty bridge name":     {"network: {bridge: ''}\n", []string{"network.bridge"}, nil},
		"one bridge for both":   {"network: {bridge: boxyard1}\n", []string{"network.dockerBridge"}, nil},
		"not a range":           {"network: {podCIDR: ten}\n", []string{`network.podCIDR is "ten"`}, []string{"10.42.0.0/16"}},
		"too large a range":     {"network: {podCIDR: 10.0.0.0/7}\n", []string{"podCIDR"}, []string{"/8 to /22"}},
		"too small a range":     {"network: {podCIDR: 10.0.0.0/24}\n", []string{"podCIDR"}, []string{"/22"}},
		"IPv6 for IPv4":         {"network: {podCIDR: 'fd00::/56'}\n", []string{"podCIDR"}, []string{"IPv4"}},
		"IPv4 for IPv6":         {"network: {serviceCIDR6: 10.9.0.0/16}\n", []string{"serviceCIDR6"}, []string{"IPv6"}},
		"an address in a range": {"network: {podCIDR: 10.42.0.1/16}\n", []string{"10.42.0.1/16"}, []string{"10.42.0.0/16"}},
		"loopback":              {"network: {podCIDR: 127.0.0.0/8}\n", []string{"127.0.0.0/8"}, nil},
		"ranges that overlap":   {"network: {podCIDR: 10.40.0.0/13}\n", []string{"network.serviceCIDR"}, []string{"network.podCIDR (10.40.0.0/13)"}},
		"node ports":            {"network: {nodePorts: lan}\n", []string{`network.nodePorts is "lan"`}, []string{"all or loopback"}},
		"a pool of nothing":     {"network: {loadBalancerPool: nodes}\n", []string{`network.loadBalancerPool is "nodes"`}, []string{"or the word node"}},
		"a pool inside another": {"network: {loadBalancerPool: 10.43.7.0/24}\n", []string{"network.loadBalancerPool"}, []string{"network.serviceCIDR"}},
		"log size":              {"log: {maxSizeMB: 0}\n", []string{"log.maxSizeMB is 0"}, nil},
		"log files":             {"log: {maxFiles: 1000}\n", []string{"log.maxFiles is 1000"}, nil},
		"a word for a switch":   {"audit: {enabled: 'yes'}\n", []string{`audit.enabled is "yes"`}, []string{"true or false"}},
		"relative audit policy": {"audit: {policyFile: policy.yaml}\n", []string{`audit.policyFile is "policy.yaml"`}, []string{"absolute path"}},
		"audit size":            {"audit: {maxSizeMB: 0}\n", []string{"audit.maxSizeMB is 0"}, []string{"1 to 10240"}},
		"audit backups":         {"audit: {maxBackups: -1}\n", []string{"audit.maxBackups is -1"}, nil},
		"audit age":             {"audit: {maxAgeDays: 9999}\n", []string{"audit.maxAgeDays is 9999"}, []string{"30"}},
		"proxy":                 {"proxy: {http: 'proxy:3128'}\n", []string{"proxy.http"}, []string{"http://proxy.example.com:3128"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, tt.content)
			_, err := Load(path)
			var f *fault.Error
			if !errors.As(err, &f) {
				t.Fatalf("not a fault: %v", err)
			}
			if f.Code != CodeInvalid || fault.ExitCode(err) != fault.ExitUsage {
				t.Errorf("code %q, exit %d", f.Code, fault.ExitCode(err))
			}
			for _, part := range append(tt.summary, path) {
				if !strings.Contains(f.Error(), part) {
					t.Errorf("error %q lacks %q", f.Error(), part)
				}
			}
			for _, part := range tt.hint {
				if !strings.Contains(f.Hint, part) {
					t.Errorf("hint %q lacks %q", f.Hint, part)
				}
			}
		})
	}
}

func TestLoadHidesProxyPassword(t *testing.T) {
	for _, value := range []string{"ftp://user:secret@proxy:3128", "http://user:secret@proxy:port"} {
		_, err := Load(writeFile(t, "proxy: {https: '"+value+"'}\n"))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestLoadUnreadable(t *testing.T) {
	_, err := Load(t.TempDir())
	if fault.Code(err) != CodeInvalid {
		t.Errorf("a directory in the file's place: %v", err)
	}
}

func TestKeys(t *testing.T) {
	got, err := Keys(writeFile(t, "apiPort: 6443\nnetwork:\n  podCIDR: 10.42.0.0/16\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"apiPort": true, "network.podCIDR": true}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if none, err := Keys(filepath.Join(t.TempDir(), "none")); err != nil || len(none) != 0 {
		t.Errorf("%v %v", none, err)
	}
}

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("network: {podCIDR: 10.0.0.0/8}")
	f.Add("without: [cluster, {a: 1}]")
	f.Fuzz(func(t *testing.T, content string) {
		c, err := decode([]byte(content))
		if err != nil && fault.Code(err) != CodeInvalid {
			t.Errorf("%q: not a fault: %v", content, err)
		}
		if err == nil {
			_ = c.Validate()
		}
	})
}
