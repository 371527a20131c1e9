package harness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Snapshot is the state of the instance's host, one sorted text for each aspect, to be
// compared before the first `up` and after `reset`.
type Snapshot map[string]string

// Snapshot looks at everything that Boxyard could have changed.
func (in *Instance) Snapshot(ctx context.Context) (Snapshot, error) {
	s := make(Snapshot)
	for name, args := range map[string][]string{
		"links":    {"ip", "-o", "link"},
		"addrs":    {"ip", "-o", "addr"},
		"routes":   {"ip", "route", "show", "table", "all"},
		"routes6":  {"ip", "-6", "route", "show", "table", "all"},
		"rules":    {"ip", "rule"},
		"rules6":   {"ip", "-6", "rule"},
		"nft":      {"nft", "list", "ruleset"},
		"accounts": {"sha256sum", "/etc/passwd", "/etc/group", "/etc/subuid", "/etc/subgid"},
	} {
		result, err := in.Exec(ctx, Command{Name: args[0], Args: args[1:]})
		if err != nil {
			return nil, err
		}
		s[name] = counters.ReplaceAllString(result.Stdout, "")
	}
	for name, read := range map[string]func() (string, error){
		"mounts": readMounts, "sysctls": readSysctls, "run": func() (string, error) { return listFiles("/run", false) },
	} {
		err := in.Inside(func() error {
			var err error
			s[name], err = read()
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("harness: snapshot of %s: %w", name, err)
		}
	}
	cgroups, err := in.cgroups()
	if err != nil {
		return nil, fmt.Errorf("harness: snapshot of cgroups: %w", err)
	}
	s["cgroups"] = strings.Join(cgroups, "\n")
	for name, dir := range map[string]string{"files": "overlay", "data": "data", "kubelet": "kubelet", "logs": "log"} {
		if s[name], err = listFiles(filepath.Join(in.dir, dir), true); err != nil {
			return nil, fmt.Errorf("harness: snapshot of %s: %w", name, err)
		}
	}
	return s, nil
}

//nolint:gochecknoglobals // a constant, as far as the language allows
var (
	counters = regexp.MustCompile(`packets \d+ bytes \d+`)
	// Sysctls that change by themselves, or are not settings.
	volatile = regexp.MustCompile(`^(fs/(dentry-state|file-nr|inode-|aio-nr|quota)|kernel/(random/|ns_last_pid|pty/nr|sched_domain|tainted|perf_|core_modes)|net/netfilter/nf_conntrack_(count|max|buckets)|vm/stat_refresh|fs/binfmt_misc|sunrpc)`)
)

// readMounts lists mounts without the numbers that differ at each mount.
func readMounts() (string, error) {
	data, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return "", err
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 5 {
			lines = append(lines, strings.Join(fields[3:6], " "))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), nil
}

func readSysctls() (string, error) {
	var out strings.Builder
	err := filepath.WalkDir("/proc/sys", func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, "/proc/sys/")
		if err != nil || entry.IsDir() || volatile.MatchString(name) {
			return nil // entries of /proc may vanish or refuse to be read
		}
		if value, err := os.ReadFile(path); err == nil {
			fmt.Fprintf(&out, "%s = %s\n", name, bytes.TrimSpace(value))
		}
		return nil
	})
	return out.String(), err
}

// listFiles lists everything below dir with type, mode and, on request, what files contain.
func listFiles(dir string, contents bool) (string, error) {
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if slices.Contains(strings.Split(rel, "/"), "work") {
			return nil // overlayfs' own
		}
		fmt.Fprintf(&out, "%v %s", info.Mode(), rel)
		if contents && info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, " %x", sha256.Sum256(data))
		}
		out.WriteString("\n")
		return nil
	})
	return out.String(), err
}
