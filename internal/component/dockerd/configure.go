package dockerd

import (
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

// SetInsecureRegistries names the registries that nobody vouches for: without TLS, or with a certificate that is not
// to be checked. Pulls and pushes find that in /etc/docker/certs.d by themselves; logging in and searching go by this
// list (moby daemon/pkg/registry). A dockerd that serves learns of it at once, one that starts later from its file.
func (c *Component) SetInsecureRegistries(names []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insecure = slices.Clone(names)
	return c.tell()
}

// nowServing catches up with what has changed since dockerd read its file.
func (c *Component) nowServing() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving = true
	return c.tell()
}

// notServing: before it serves and while it stops, SIGHUP would end dockerd, or turn live-restore on again.
func (c *Component) notServing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving = false
}

// tell needs the lock.
func (c *Component) tell() error {
	if !c.serving || slices.Equal(c.insecure, c.applied) {
		return nil
	}
	if err := c.write(true); err != nil {
		return err
	}
	return c.reload()
}

// configure writes daemon.json.
func (c *Component) configure(liveRestore bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(liveRestore)
}

// write needs the lock.
func (c *Component) write(liveRestore bool) error {
	data, err := daemonJSON(c.o, liveRestore, c.insecure)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(configFile(c.o), data, 0o600); err != nil {
		return fmt.Errorf("write daemon.json: %w", err)
	}
	c.applied = slices.Clone(c.insecure)
	return nil
}

func (c *Component) reload() error {
	if err := c.signal(syscall.SIGHUP); err != nil {
		return fmt.Errorf("reload dockerd: %w", err)
	}
	return nil
}

func (c *Component) signal(s os.Signal) error {
	p, err := os.FindProcess(c.PID())
	if err != nil {
		return err
	}
	return p.Signal(s)
}
