package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// hostSysctls reads those that a kubelet or Boxyard may set and that no namespace confines.
func hostSysctls() (map[string]string, error) {
	values := make(map[string]string)
	for _, pattern := range []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "fs/inotify/*", "fs/pipe-max-size",
		"net/bridge/*", "net/netfilter/nf_conntrack_max",
	} {
		files, err := filepath.Glob("/proc/sys/" + pattern)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			value, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("harness: %w", err)
			}
			values[file] = string(value)
		}
	}
	return values, nil
}

func (in *Instance) restoreSysctls() error {
	var errs []error
	for file, want := range in.sysctls {
		now, err := os.ReadFile(file)
		if err != nil || string(now) == want {
			continue
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("harness: put back %s=%s: %w", file, strings.TrimSpace(want), err))
		}
	}
	return errors.Join(errs...)
}
