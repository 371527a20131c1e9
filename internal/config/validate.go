package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// DNSPort is the port that the dns process listens on, UDP and TCP.
const DNSPort = 10053

// ReservedPorts are the TCP ports that the parts listen on besides the API's;
// upstream fixes them, so the API cannot have one of them.
func ReservedPorts() []int {
	return []int{2379, 2380, DNSPort, 10248, 10249, 10250, 10256, 10257, 10259}
}

var (
	dns1123    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	groupName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)
	cgroupName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	bridgeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,14}$`)
)

func optionalParts() []string { return []string{"cluster", "docker"} }

// FastPaths are the words that WithoutFastPaths may have.
func FastPaths() []string {
	return []string{FastVolumes, FastPodNetwork, FastEvents, FastProbes, FastServices, FastQueues, FastWatchCaches, FastIdle, FastStorage, FastOpenAPI, FastNFT, FastShim, FastSeccomp}
}

// Validate reports the first value that is not allowed, as a *fault.Error with
// the key, the value and the allowed form.
func (c Config) Validate() error {
	checks := []func() error{
		c.validatePort, c.validateFrontDoor, c.validateNames, c.validateWithout,
		c.Network.validateSwitch, c.Network.validateNodePorts, c.Network.validateBridges, c.Network.validateRanges,
		c.Docker.validate, c.Storage.validate, c.Disk.validate, c.Log.validate, c.Audit.validate, c.Proxy.validate,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) validatePort() error {
	if c.APIPort < 1 || c.APIPort > 65535 {
		return notAllowed("apiPort", c.APIPort, "a TCP port, 1 to 65535; the default is 6443")
	}
	if slices.Contains(ReservedPorts(), c.APIPort) {
		return notAllowed("apiPort", c.APIPort, "a port that no part of Kubernetes has for itself; the default is 6443")
	}
	return nil
}

func (c Config) validateFrontDoor() error {
	port := c.FrontDoor.Port
	if port < 0 || port > 65535 {
		return notAllowed("frontDoor.port", port, "a TCP port, 1 to 65535, or 0 to leave the front door out; the default is 80")
	}
	if port == c.APIPort || slices.Contains(ReservedPorts(), port) {
		return notAllowed("frontDoor.port", port, "a port that no part of Kubernetes has for itself; the default is 80")
	}
	return nil
}

func (c Config) validateNames() error {
	// A node's name is also the value of its label kubernetes.io/hostname, hence 63.
	if c.NodeName != "" && (len(c.NodeName) > 63 || !dns1123.MatchString(c.NodeName)) {
		return notAllowed("nodeName", c.NodeName, "lower-case letters, digits, '-' and '.', at most 63, starting and ending with a letter or digit")
	}
	if c.Group != "" && !groupName.MatchString(c.Group) {
		return notAllowed("group", c.Group, "the name of a group on this machine, such as docker")
	}
	if !cgroupName.MatchString(c.CgroupRoot) {
		return notAllowed("cgroupRoot", c.CgroupRoot, "letters, digits, '-' and '_', at most 64; the default is boxyard")
	}
	return nil
}

func (c Config) validateWithout() error {
	if err := validateWords("without", c.Without, optionalParts()); err != nil {
		return err
	}
	return validateWords("withoutFastPaths", c.WithoutFastPaths, FastPaths())
}

// validateWords reports the first word that is not one of those that there are.
func validateWords(key string, words, known []string) error {
	for _, word := range words {
		if slices.Contains(known, word) {
			continue
		}
		allowed := "only " + strings.Join(known, " and ")
		if near := nearestWord(word, known); near != "" {
			allowed += "; did you mean " + near + "?"
		}
		return notAllowed(key, word, allowed)
	}
	return nil
}

func (d Disk) validate() error {
	if d.LimitPercent < 6 || d.LimitPercent > 85 {
		return notAllowed("disk.limitPercent", d.LimitPercent, "6 to 85 (above, the kubelet evicts pods); the default is 80")
	}
	return nil
}

func (n Network) validateSwitch() error {
	return validateSwitch("network.ipv6", n.IPv6)
}

func (n Network) validateNodePorts() error {
	if slices.Contains([]string{"all", "loopback"}, n.NodePorts) {
		return nil
	}
	return notAllowed("network.nodePorts", n.NodePorts, "all or loopback")
}

func (d Docker) validate() error {
	return validateSwitch("docker.socket", d.Socket)
}

// validate keeps volumes out of what belongs to the kernel, to the packages of the host, to a reboot or to our
// other parts.
func (s Storage) validate() error {
	taken := []string{
		"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/lib/boxyard", "/var/lib/kubelet",
	}
	within := func(dir string) bool { return s.Path == dir || strings.HasPrefix(s.Path, dir+"/") }
	proper := filepath.IsAbs(s.Path) && filepath.Clean(s.Path) == s.Path && !strings.ContainsFunc(s.Path, unicode.IsControl)
	if s.Path == Default().Storage.Path || proper && s.Path != "/" && !slices.ContainsFunc(taken, within) {
		return nil
	}
	return notAllowed("storage.path", s.Path, "the absolute path of a directory for volumes, such as /srv/volumes, outside those of the system; the default is "+Default().Storage.Path)
}

func validateSwitch(key, value string) error {
	if slices.Contains([]string{"auto", "on", "off"}, value) {
		return nil
	}
	return notAllowed(key, value, "auto, on or off")
}

func (n Network) validateBridges() error {
	bridges := []struct{ key, name string }{{"network.bridge", n.Bridge}, {"network.dockerBridge", n.DockerBridge}}
	for _, b := range bridges {
		// The kernel's IFNAMSIZ is 16 with the closing zero.
		if !bridgeName.MatchString(b.name) || b.name == "lo" {
			return notAllowed(b.key, b.name, "the name of a network interface: letters, digits, '-', '_' and '.', 1 to 15, starting with a letter")
		}
	}
	if n.Bridge == n.DockerBridge {
		return notAllowed("network.dockerBridge", n.DockerBridge, "another name than network.bridge has")
	}
	return nil
}

// rangeRule says what a range must be like. Ones and bits follow from what uses it.
type rangeRule struct {
	key, value, example string
	v6                  bool
	minBits, maxBits    int
	why                 string
}

func (n Network) rangeRules() []rangeRule {
	d := Default().Network
	rules := []rangeRule{
		{"network.podCIDR", n.PodCIDR, d.PodCIDR, false, 8, 22, "a node takes a /22 of it"},
		// kube-apiserver takes at most 20 bits of addresses in either family; DNS has the tenth.
		{"network.serviceCIDR", n.ServiceCIDR, d.ServiceCIDR, false, 12, 28, ""},
		// The controller manager's node ranges span at most 16 bits.
		{"network.podCIDR6", n.PodCIDR6, d.PodCIDR6, true, 48, 64, "a node takes a /64 of it"},
		{"network.serviceCIDR6", n.ServiceCIDR6, d.ServiceCIDR6, true, 108, 124, ""},
		{"network.dockerCIDR", n.DockerCIDR, d.DockerCIDR, false, 8, 29, ""},
		{"network.dockerPool", n.DockerPool, d.DockerPool, false, 8, 24, "a Docker network takes a /24 of it"},
	}
	if !n.HasLoadBalancerPool() {
		return rules
	}
	return append(rules,
		rangeRule{"network.loadBalancerPool", n.LoadBalancerPool, d.LoadBalancerPool, false, 8, 32, "or the word " + NodeAddress},
		rangeRule{"network.loadBalancerPool6", n.LoadBalancerPool6, d.LoadBalancerPool6, true, 64, 128, ""},
	)
}

func (n Network) validateRanges() error {
	rules := n.rangeRules()
	prefixes := make([]netip.Prefix, len(rules))
	for i, r := range rules {
		p, err := r.parse()
		if err != nil {
			return err
		}
		for j, other := range prefixes[:i] {
			if p.Overlaps(other) {
				return notAllowed(r.key, r.value, fmt.Sprintf("a range that does not overlap %s (%s)", rules[j].key, other))
			}
		}
		prefixes[i] = p
	}
	return nil
}

func (r rangeRule) parse() (netip.Prefix, error) {
	family := "IPv4"
	if r.v6 {
		family = "IPv6"
	}
	allowed := fmt.Sprintf("an %s range from /%d to /%d, such as %s", family, r.minBits, r.maxBits, r.example)
	if r.why != "" {
		allowed += " (" + r.why + ")"
	}
	p, err := netip.ParsePrefix(r.value)
	if err != nil || p.Addr().Is6() != r.v6 || p.Addr().Is4In6() || p.Bits() < r.minBits || p.Bits() > r.maxBits {
		return netip.Prefix{}, notAllowed(r.key, r.value, allowed)
	}
	if p != p.Masked() {
		return netip.Prefix{}, notAllowed(r.key, r.value, "the range's first address: "+p.Masked().String())
	}
	if a := p.Addr(); a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsUnspecified() {
		return netip.Prefix{}, notAllowed(r.key, r.value, allowed)
	}
	return p, nil
}

func (l Log) validate() error {
	if l.MaxSizeMB < 1 || l.MaxSizeMB > 10240 {
		return notAllowed("log.maxSizeMB", l.MaxSizeMB, "1 to 10240; the default is 20")
	}
	if l.MaxFiles < 1 || l.MaxFiles > 100 {
		return notAllowed("log.maxFiles", l.MaxFiles, "1 to 100; the default is 3")
	}
	return nil
}

func (a Audit) validate() error {
	if a.PolicyFile != "" && !filepath.IsAbs(a.PolicyFile) {
		return notAllowed("audit.policyFile", a.PolicyFile, "an absolute path, such as /etc/boxyard/audit-policy.yaml")
	}
	for _, limit := range []struct {
		key         string
		value, most int
		usual       string
	}{
		{"audit.maxSizeMB", a.MaxSizeMB, 10240, "100"},
		{"audit.maxBackups", a.MaxBackups, 1000, "10"},
		{"audit.maxAgeDays", a.MaxAgeDays, 3650, "30"},
	} {
		if limit.value < 1 || limit.value > limit.most {
			return notAllowed(limit.key, limit.value, fmt.Sprintf("1 to %d; the default is %s", limit.most, limit.usual))
		}
	}
	return nil
}

func (p Proxy) validate() error {
	for _, v := range []struct{ key, value string }{{"proxy.http", p.HTTP}, {"proxy.https", p.HTTPS}} {
		if v.value == "" {
			continue
		}
		u, err := url.Parse(v.value)
		if err != nil {
			// The value may hold a password, and one that does not parse cannot be shown without it.
			return notAllowed(v.key, "(not shown)", "a URL such as http://proxy.example.com:3128")
		}
		if !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) || u.Hostname() == "" {
			return notAllowed(v.key, u.Redacted(), "a URL such as http://proxy.example.com:3128")
		}
	}
	return nil
}

func notAllowed(key string, value any, allowed string) error {
	return invalid("", fmt.Sprintf("%s is %s", key, describe(value)), "allowed: "+allowed, nil)
}
