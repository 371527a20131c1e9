package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// setSysctls writes the values that differ, and returns what it changed.
func setSysctls(root string, wanted []sysctl) ([]string, error) {
	var changed []string
	for _, s := range wanted {
		path := filepath.Join(root, s.path)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && s.optional {
			continue
		}
		if err != nil {
			return changed, fmt.Errorf("read sysctl: %w", err)
		}
		if strings.TrimSpace(string(data)) == s.value {
			continue
		}
		if err := os.WriteFile(path, []byte(s.value), 0o644); err != nil {
			return changed, fmt.Errorf("set sysctl to %s: %w", s.value, err)
		}
		changed = append(changed, s.path)
	}
	return changed, nil
}

// advertised returns the sysctls that keep a host's IPv6 routes which it learns
// from router advertisements: once forwarding is on the kernel takes these only
// with accept_ra=2, and forgets the ones it has. So they are set before it.
//
// learned are the interfaces that have such a route now. Those that belong to a
// device are included too, because their router may not have spoken yet; bridges
// and the like are not, lest a container become the host's router.
func advertised(proc, sys string, learned, ours []string) []sysctl {
	names, err := os.ReadDir(filepath.Join(proc, "net/ipv6/conf"))
	if err != nil {
		return nil
	}
	var found []sysctl
	for _, entry := range names {
		name := entry.Name()
		if slices.Contains([]string{"all", "default", "lo"}, name) || slices.Contains(ours, name) {
			continue
		}
		path := "net/ipv6/conf/" + name + "/accept_ra"
		value, err := os.ReadFile(filepath.Join(proc, path))
		if err != nil || strings.TrimSpace(string(value)) != "1" {
			continue
		}
		if slices.Contains(learned, name) || isDevice(sys, name) {
			found = append(found, sysctl{path: path, value: "2", optional: true})
		}
	}
	return found
}

func isDevice(sys, name string) bool {
	_, err := os.Stat(filepath.Join(sys, "class/net", name, "device"))
	return err == nil
}
