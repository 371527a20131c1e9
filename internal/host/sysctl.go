package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

const sysctlRoot = "/proc/sys"

// sysctlPatterns are the sysctls that Boxyard or one of its parts changes, in the
// order in which they are put back: what sets others comes before those.
func sysctlPatterns() []string {
	return []string{
		// network, moby, kubelet. Writing one of these writes the whole conf tree.
		"net/ipv4/ip_forward",
		"net/ipv4/conf/all/forwarding",
		"net/ipv6/conf/all/forwarding",
		"net/ipv4/conf/*/forwarding",
		"net/ipv4/conf/*/accept_redirects",
		"net/ipv4/conf/*/route_localnet",
		"net/ipv4/conf/*/rp_filter",
		"net/ipv6/conf/*/forwarding",
		"net/ipv6/conf/*/accept_ra",
		"net/bridge/bridge-nf-call-arptables",
		"net/bridge/bridge-nf-call-iptables",
		"net/bridge/bridge-nf-call-ip6tables",
		"net/ipv4/neigh/default/gc_thresh*",
		// kubelet: setupKernelTunables in pkg/kubelet/cm. moby: root_maxkeys.
		"fs/pipe-max-size",
		"vm/overcommit_memory",
		"vm/panic_on_oom",
		"kernel/panic",
		"kernel/panic_on_oops",
		"kernel/keys/root_maxkeys",
		"kernel/keys/root_maxbytes",
		// kube-proxy: pkg/proxy/conntrack.
		"net/netfilter/nf_conntrack_max",
		"net/netfilter/nf_conntrack_buckets",
		"net/netfilter/nf_conntrack_tcp_be_liberal",
		"net/netfilter/nf_conntrack_tcp_timeout_established",
		"net/netfilter/nf_conntrack_tcp_timeout_close_wait",
		"net/netfilter/nf_conntrack_udp_timeout",
		"net/netfilter/nf_conntrack_udp_timeout_stream",
		"fs/inotify/max_user_instances",
		"fs/inotify/max_user_watches",
	}
}

// recordedSysctl is a path under /proc/sys with the value that it had.
type recordedSysctl struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// RecordSysctls writes the present values into file, to be called before anything
// is changed. It never overwrites a file: what is there is from before the first change.
func RecordSysctls(file string) error { return recordSysctls(sysctlRoot, file) }

// RestoreSysctls puts back what differs from the record. Sysctls that are gone,
// with their interface or module, are left out; a file that does not exist restores
// nothing. It goes on after an error.
func RestoreSysctls(file string) error { return restoreSysctls(sysctlRoot, file) }

func recordSysctls(root, file string) error {
	if exists(file) {
		return nil
	}
	var record []recordedSysctl
	for _, pattern := range sysctlPatterns() {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return fmt.Errorf("record sysctls: %w", err)
		}
		for _, path := range paths {
			name, err := filepath.Rel(root, path)
			if err != nil {
				return fmt.Errorf("record sysctls: %w", err)
			}
			known := slices.ContainsFunc(record, func(r recordedSysctl) bool { return r.Path == name })
			// Some may be written and not read, or belong to the first network namespace.
			if data, err := os.ReadFile(path); err == nil && !known {
				record = append(record, recordedSysctl{Path: name, Value: strings.TrimSpace(string(data))})
			}
		}
	}
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("record sysctls: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o711); err != nil {
		return fmt.Errorf("record sysctls: %w", err)
	}
	if err := atomicfile.Write(file, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("record sysctls: %w", err)
	}
	return nil
}

func restoreSysctls(root, file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore sysctls: %w", err)
	}
	var record []recordedSysctl
	if err := json.Unmarshal(data, &record); err != nil {
		return fmt.Errorf("restore sysctls: %s: %w", file, err)
	}
	var errs []error
	for _, r := range record {
		if !filepath.IsLocal(r.Path) {
			errs = append(errs, fmt.Errorf("restore sysctls: %q is no sysctl", r.Path))
			continue
		}
		path := filepath.Join(root, r.Path)
		now, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(now)) == r.Value {
			continue
		}
		if err := os.WriteFile(path, []byte(r.Value), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("restore sysctl to %s: %w", r.Value, err))
		}
	}
	return errors.Join(errs...)
}
