package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/paths"
)

const (
	gib = 1 << 30
	mib = 1 << 20
	// What the first start needs: the parts, extracted, and room for images.
	diskForCreation = 2 * gib
	// What any later start needs. A full disk must not keep people from removing images.
	diskForStart = 256 * mib
)

// Preflight tells what keeps Boxyard from running here, with the next step for
// each, and changes nothing. The configuration has the ranges that will be used: at
// creation those of PickRanges. own are the pids of our parts that still run; what
// they hold is in nobody's way.
func Preflight(_ context.Context, f Facts, c config.Config, l paths.Layout, own ...int) []*fault.Error {
	if !f.Root {
		// Without root the rest cannot be seen well enough to be worth reporting.
		return []*fault.Error{{
			Code: "not-root", Summary: "this needs root", Hint: "sudo boxyard up", Exit: fault.ExitNeedsRoot,
		}}
	}
	var found []*fault.Error
	found = append(found, checkKernel(f, c)...)
	found = append(found, checkNFT(f, own)...)
	found = append(found, checkIPv6(f, c)...)
	found = append(found, checkProtocols(f, c)...)
	found = append(found, checkPorts(f, c, own)...)
	found = append(found, checkRanges(f, c)...)
	return append(found, checkDisk(l)...)
}

func checkKernel(f Facts, c config.Config) []*fault.Error {
	var found []*fault.Error
	if !f.Overlayfs {
		found = append(found, &fault.Error{
			Code: "no-overlayfs", Summary: "this kernel has no overlayfs, which images are unpacked with",
			Hint: "modprobe overlay, or use a kernel with CONFIG_OVERLAY_FS",
		})
	}
	if !f.BridgeNetfilter && withCluster(c) {
		found = append(found, &fault.Error{
			Code: "no-bridge-netfilter", Summary: "this kernel does not filter bridges, without which pods do not reach each other through Services",
			Hint: "modprobe br_netfilter, or use Docker alone: boxyard up --without cluster",
		})
	}
	// kube-proxy refuses its nftables mode on an older one.
	if olderThan(f.Kernel, 5, 13) {
		found = append(found, &fault.Error{
			Code: "kernel-old", Summary: fmt.Sprintf("kernel %s is older than 5.13", f.Kernel),
			Hint: "upgrade the kernel",
		})
	}
	return found
}

func withCluster(c config.Config) bool { return !slices.Contains(c.Without, "cluster") }

func checkProtocols(f Facts, c config.Config) []*fault.Error {
	if !f.NoProtocols || !withCluster(c) {
		return nil
	}
	return []*fault.Error{{
		Code: "no-protocols", Summary: "/etc/protocols does not name tcp, and Services would be lost when the cluster restarts",
		Hint: "apt-get install netbase",
	}}
}

func checkNFT(f Facts, own []int) []*fault.Error {
	if f.NFT == "" {
		return []*fault.Error{{
			Code: "no-nft", Summary: "the command nft is not installed; Services and published ports are made with it",
			Hint: "apt-get install nftables",
		}}
	}
	var found []*fault.Error
	if olderThan(f.NFTVersion, 1, 0, 1) {
		found = append(found, &fault.Error{
			Code: "nft-old", Summary: fmt.Sprintf("nft %s is older than 1.0.1", f.NFTVersion),
			Hint: "upgrade nftables",
		})
	}
	for _, p := range f.Engines {
		if p.Name != "dockerd" || slices.Contains(own, p.PID) || !f.hasTable("docker-bridges") {
			continue
		}
		found = append(found, &fault.Error{
			Code:    "docker-nftables",
			Summary: fmt.Sprintf("another Docker engine (pid %d) keeps its rules in the nft table docker-bridges, and two engines cannot share it", p.PID),
			Hint:    "stop that engine, set its firewall-backend to iptables, or use only the cluster: boxyard up --without docker",
		})
	}
	return found
}

func (f Facts) hasTable(name string) bool {
	return slices.ContainsFunc(f.NFTTables, func(t string) bool { return strings.HasSuffix(t, " "+name) })
}

func checkIPv6(f Facts, c config.Config) []*fault.Error {
	if c.Network.IPv6 != "on" || f.IPv6 {
		return nil
	}
	return []*fault.Error{{
		Code: "no-ipv6", Summary: "network.ipv6 is on, but IPv6 is disabled on this host",
		Hint: "sysctl -w net.ipv6.conf.all.disable_ipv6=0, or set network.ipv6 to auto",
	}}
}

func checkPorts(f Facts, c config.Config, own []int) []*fault.Error {
	if !withCluster(c) {
		return nil
	}
	wanted := addressesOf(c.Network)
	var blocking []Listener
	for _, port := range append([]int{c.APIPort}, config.ReservedPorts()...) {
		for _, l := range f.Listeners {
			if l.blocks("tcp", port, wanted) || (port == config.DNSPort && l.blocks("udp", port, wanted)) {
				blocking = append(blocking, l)
			}
		}
	}
	findOwners(f.proc, blocking)
	var found []*fault.Error
	reported := map[uint16]bool{}
	for _, l := range blocking {
		// One report for each port: most servers listen in both families.
		if slices.Contains(own, l.Owner.PID) || reported[l.Address.Port()] {
			continue
		}
		reported[l.Address.Port()] = true
		found = append(found, portFault(f, c, l))
	}
	return found
}

// addressesOf are those that the cluster's parts listen on.
func addressesOf(n config.Network) []netip.Addr {
	addresses := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	for _, cidr := range []string{n.PodCIDR, n.PodCIDR6} {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			addresses = append(addresses, p.Masked().Addr().Next())
		}
	}
	return addresses
}

const unknownOwner = "another process"

// Passing says that a fault may be gone in a moment: a port whose owner cannot be found belongs to a
// process that was killed and is not yet cleared away.
func Passing(f *fault.Error) bool {
	return f.Code == "port-in-use" && strings.HasSuffix(f.Summary, unknownOwner)
}

func portFault(f Facts, c config.Config, l Listener) *fault.Error {
	port, by := int(l.Address.Port()), l.Owner.String()
	e := &fault.Error{Code: "port-in-use", Summary: fmt.Sprintf("port %d is in use by %s", port, by)}
	if port == c.APIPort {
		e.Hint = fmt.Sprintf("boxyard up --api-port %d", f.freePort(port+1))
		return e
	}
	e.Hint = fmt.Sprintf("stop %s: Kubernetes needs this port; or use Docker alone: boxyard up --without cluster", by)
	return e
}

func (f Facts) freePort(from int) int {
	for port := from; port < 65536; port++ {
		taken := slices.ContainsFunc(f.Listeners, func(l Listener) bool { return int(l.Address.Port()) == port })
		if !taken && !slices.Contains(config.ReservedPorts(), port) {
			return port
		}
	}
	return 16443
}

// checkRanges reports networks inside our ranges, which would take addresses
// away from pods. One around our range only loses that part of itself: Warnings.
func checkRanges(f Facts, c config.Config) []*fault.Error {
	var found []*fault.Error
	used := usedRanges(f, c)
	for _, r := range used {
		i := slices.IndexFunc(f.Routes, func(route Route) bool { return route.within(r.prefix) && route.foreign(c.Network) })
		if i < 0 {
			continue
		}
		free := func(p netip.Prefix) bool {
			_, taken := overlapping(f.Routes, p, c.Network)
			return !taken && !slices.ContainsFunc(used, func(u usedRange) bool { return u.prefix.Overlaps(p) })
		}
		found = append(found, overlapFault(r.key, r.prefix, f.Routes[i], candidates(r.prefix), free))
	}
	return found
}

func checkDisk(l paths.Layout) []*fault.Error {
	dir := existingParent(l.Data)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []*fault.Error{{
			Code: "data-dir", Summary: fmt.Sprintf("the data directory %s cannot be used", l.Data), Cause: err,
			Hint: "make it writable, or mount a local disk there",
		}}
	}
	need := uint64(diskForCreation)
	if exists(l.StateFile()) {
		need = diskForStart
	}
	found := fileSystemFault(l.Data, int64(st.Type))
	if free := st.Bavail * uint64(st.Bsize); free < need {
		found = append(found, diskFault(l.Data, free, need))
	}
	return found
}

// DiskFull is a fault when the file system of dir, which exists, has less than need bytes left: for a part
// that would only crash there. It is no judgement about a dir that cannot be looked at.
func DiskFull(dir string, need uint64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return nil //nolint:nilerr // Who works in dir says better what is wrong with it.
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return &fault.Error{
			Code:    "disk-full",
			Summary: fmt.Sprintf("the disk is full: %s free in %s, which needs %s", bytes(free), dir, bytes(need)),
			Hint:    "free some space there: what waits for it goes on by itself",
		}
	}
	return nil
}

func diskFault(dir string, free, need uint64) *fault.Error {
	return &fault.Error{
		Code:    "disk-low",
		Summary: fmt.Sprintf("%s free in %s, where Boxyard needs %s", bytes(free), dir, bytes(need)),
		Hint:    fmt.Sprintf("free some space there, or mount a larger disk at %s", dir),
	}
}

// fileSystemFault knows the file systems that overlayfs cannot use for what is written.
func fileSystemFault(dir string, kind int64) []*fault.Error {
	names := map[int64]string{
		unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "NFS", unix.SMB2_SUPER_MAGIC: "SMB",
		unix.CIFS_SUPER_MAGIC: "CIFS", unix.MSDOS_SUPER_MAGIC: "FAT", unix.EXFAT_SUPER_MAGIC: "exFAT",
	}
	name, unfit := names[kind]
	if !unfit {
		return nil
	}
	return []*fault.Error{{
		Code:    "data-filesystem",
		Summary: fmt.Sprintf("%s is on a file system (%s) that cannot hold unpacked images", dir, name),
		Hint:    fmt.Sprintf("mount a local disk (ext4, xfs, btrfs) at %s", dir),
	}}
}

func existingParent(dir string) string {
	for {
		_, err := os.Stat(dir)
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

func bytes(n uint64) string {
	if n < gib {
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return strings.TrimSuffix(strconv.FormatFloat(float64(n)/gib, 'f', 1, 64), ".0") + " GiB"
}

// olderThan compares the leading numbers of a version. One that is not known is
// not older.
func olderThan(version string, least ...int) bool {
	numbers := strings.FieldsFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	for i, want := range least {
		if i >= len(numbers) {
			return false
		}
		n, err := strconv.Atoi(numbers[i])
		if err != nil || n != want {
			return err == nil && n < want
		}
	}
	return false
}
