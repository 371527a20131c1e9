package host

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Facts are what Boxyard needs to know of the machine.
type Facts struct {
	Root            bool // running as root
	CgroupV2        bool // one hierarchy; false for v1 and hybrid
	Systemd         bool // it is the init of this machine
	Overlayfs       bool
	IPv6            bool   // not disabled
	NFT             string // path of nft; "" where there is none
	NFTVersion      string // "1.0.6"; "" where unknown
	Kernel          string // release, as uname -r prints it
	Hostname        string
	CPUs            int
	MemoryBytes     int64
	CgroupDriver    string // "systemd" or "cgroupfs"
	CapResource     bool   // CAP_SYS_RESOURCE: limits and OOM scores may be raised
	BridgeNetfilter bool

	Routes    []Route    // of all tables but local, and the networks of all addresses
	Listeners []Listener // sockets that wait for connections or datagrams
	Engines   []Process  // Docker engines, kubelets and the like, in this network namespace
	NFTTables []string   // "ip docker-bridges"
	// NoProtocols says that /etc/protocols does not name tcp. nft then prints protocols as numbers, and a
	// kube-proxy that reads its own rules back after a restart takes them for stale ones and deletes them.
	NoProtocols bool
	// LegacyTables are those of the old iptables, whose rules nft does not see.
	LegacyTables []string

	proc string // where processes are looked up
}

// Process is a running program.
type Process struct {
	PID  int
	Name string
}

// String names the process for people: "nginx (pid 812)", or that it is not known.
func (p Process) String() string {
	if p.PID == 0 {
		return unknownOwner
	}
	return fmt.Sprintf("%s (pid %d)", p.Name, p.PID)
}

// Detect looks at the machine. As root it tries to load the kernel modules that
// the parts need and that are not there; one that cannot be loaded is a fact and no error.
func Detect(ctx context.Context) (Facts, error) {
	if os.Geteuid() == 0 {
		loadModules(ctx, "/proc", "/sys")
	}
	return look(ctx)
}

// look is Detect without changing anything.
func look(ctx context.Context) (Facts, error) {
	f := Facts{Root: os.Geteuid() == 0, CPUs: runtime.NumCPU(), NFT: findNFT(), proc: "/proc"}
	var uname unix.Utsname
	if err := unix.Uname(&uname); err != nil {
		return Facts{}, fmt.Errorf("uname: %w", err)
	}
	f.Kernel = unix.ByteSliceToString(uname.Release[:])
	f.Hostname = unix.ByteSliceToString(uname.Nodename[:])

	var cgroup unix.Statfs_t
	f.CgroupV2 = unix.Statfs("/sys/fs/cgroup", &cgroup) == nil && cgroup.Type == unix.CGROUP2_SUPER_MAGIC
	f.Systemd = exists("/run/systemd/system")
	f.CgroupDriver = cgroupDriver(f.Systemd)
	f.readProc()

	var err error
	if f.Routes, err = routes(); err != nil {
		return Facts{}, err
	}
	if f.Listeners, err = listeners(f.proc); err != nil {
		return Facts{}, err
	}
	f.Engines = engines(f.proc)
	f.askNFT(ctx)
	return f, nil
}

// cgroupDriver is systemd's wherever it runs, on hybrid hierarchies too: two
// managers of one hierarchy would undo each other's work.
func cgroupDriver(systemd bool) string {
	if systemd {
		return "systemd"
	}
	return "cgroupfs"
}

// readProc takes the facts that are files under proc.
func (f *Facts) readProc() {
	f.Overlayfs = hasFilesystem(f.proc, "overlay")
	f.IPv6 = readFile(f.proc, "sys/net/ipv6/conf/all/disable_ipv6") == "0"
	f.BridgeNetfilter = exists(filepath.Join(f.proc, "sys/net/bridge/bridge-nf-call-iptables"))
	f.NoProtocols = !namesTCP("/etc/protocols")
	f.LegacyTables = strings.Fields(readFile(f.proc, "net/ip_tables_names"))
	f.CapResource = hasCapability(field(f.proc, "self/status", "CapEff:"), unix.CAP_SYS_RESOURCE)
	kilobytes, err := strconv.ParseInt(strings.TrimSuffix(field(f.proc, "meminfo", "MemTotal:"), " kB"), 10, 64)
	if err == nil {
		f.MemoryBytes = kilobytes << 10
	}
}

func (f *Facts) askNFT(ctx context.Context) {
	if f.NFT == "" {
		return
	}
	if out, err := exec.CommandContext(ctx, f.NFT, "--version").Output(); err == nil {
		f.NFTVersion = nftVersion(string(out))
	}
	if !f.Root {
		return
	}
	if out, err := exec.CommandContext(ctx, f.NFT, "list", "tables").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			f.NFTTables = append(f.NFTTables, strings.TrimPrefix(strings.TrimSpace(line), "table "))
		}
	}
}

// nftVersion takes "1.0.6" out of "nftables v1.0.6 (Lester Gooch #5)".
func nftVersion(output string) string {
	for word := range strings.FieldsSeq(output) {
		if version, ok := strings.CutPrefix(word, "v"); ok && version != "" && version[0] >= '0' && version[0] <= '9' {
			return version
		}
	}
	return ""
}

// findNFT also looks where an ordinary user's PATH does not.
func findNFT() string {
	for _, name := range []string{"nft", "/usr/sbin/nft", "/sbin/nft"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// loadModules asks for the modules that are not there. Some are parts of the
// kernel, and some cannot be loaded; what is there afterwards is what counts.
func loadModules(ctx context.Context, proc, sys string) {
	var missing []string
	for _, m := range []struct {
		name  string
		there bool
	}{
		{"overlay", hasFilesystem(proc, "overlay")},
		{"br_netfilter", exists(filepath.Join(proc, "sys/net/bridge"))},
		{"nf_conntrack", exists(filepath.Join(proc, "sys/net/netfilter/nf_conntrack_max"))},
		{"bridge", exists(filepath.Join(sys, "module/bridge"))},
		{"veth", exists(filepath.Join(sys, "module/veth"))},
	} {
		if !m.there {
			missing = append(missing, m.name)
		}
	}
	// Without loadable modules there is nothing to ask.
	if len(missing) == 0 || !exists(filepath.Join(proc, "modules")) {
		return
	}
	modprobe := "modprobe"
	if _, err := exec.LookPath(modprobe); err != nil {
		modprobe = "/sbin/modprobe"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = exec.CommandContext(ctx, modprobe, append([]string{"-a", "-q"}, missing...)...).Run()
}

// engines finds other people's Docker and Kubernetes, and our own parts too, which
// the caller knows by their pids. Those in containers (kind's nodes) do not count.
func engines(proc string) []Process {
	names := []string{"dockerd", "kubelet", "kube-apiserver", "k3s", "k3s-server", "k0s", "kubelite"}
	own, _ := os.Readlink(filepath.Join(proc, "self/ns/net"))
	var found []Process
	for _, pid := range pids(proc) {
		dir := filepath.Join(proc, strconv.Itoa(pid))
		name := readFile(dir, "comm")
		if !slices.Contains(names, name) {
			continue
		}
		// One that cannot be read has just ended.
		if ns, err := os.Readlink(filepath.Join(dir, "ns/net")); err != nil || ns != own {
			continue
		}
		found = append(found, Process{PID: pid, Name: name})
	}
	return found
}

func pids(proc string) []int {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil
	}
	var list []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

func hasFilesystem(proc, name string) bool {
	return slices.Contains(strings.Fields(readFile(proc, "filesystems")), name)
}

// hasCapability reads the mask of /proc/PID/status.
func hasCapability(mask string, capability uint) bool {
	bits, err := strconv.ParseUint(mask, 16, 64)
	return err == nil && bits>>capability&1 == 1
}

// field is the rest of the line of a file that begins with the key.
func field(root, name, key string) string {
	file, err := os.Open(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), key); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func readFile(root, name string) string {
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func namesTCP(file string) bool {
	data, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "tcp" {
			return true
		}
	}
	return false
}
