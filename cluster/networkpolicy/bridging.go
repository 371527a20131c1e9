package networkpolicy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bridging is whether packets from one pod on the bridge to another meet our chains at all.
type bridging struct {
	proc     string
	families []family // of the cluster
}

// check switches it on where it is off, as a sysctl file of the host may have it. The component network of the daemon
// does so too, for the families of the cluster; but pods have link-local addresses of IPv6 whatever the cluster has.
func (b bridging) check() error {
	var errs []error
	for _, f := range bothFamilies() {
		errs = append(errs, b.checkFamily(f))
	}
	return errors.Join(errs...)
}

func (b bridging) checkFamily(f family) error {
	file := filepath.Join(b.proc, "bridge-nf-call-"+f.name+"tables")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && !slices.Contains(b.families, f) {
		return nil // the kernel has no such packets
	}
	if err != nil {
		return fmt.Errorf("packets between pods pass by the rules, because this kernel does not filter bridges (modprobe br_netfilter): %w", err)
	}
	if strings.TrimSpace(string(data)) == "1" {
		return nil
	}
	if err := os.WriteFile(file, []byte("1"), 0o600); err != nil {
		return fmt.Errorf("packets between pods pass by the rules, because bridges are not filtered: %w", err)
	}
	return nil
}
