package harness

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Options change what an instance starts from.
type Options struct {
	// Binary is the boxyard under test; "" takes BOXYARD_BIN, else bin/boxyard.
	Binary string
	// Config is added to the generated config.yaml, which sets cgroupRoot only.
	Config string
	// NoPayload starts without an extracted payload, so that `up` has to extract its own.
	NoPayload bool
	// DataMB puts /var/lib/boxyard on a file system of this size in MiB; 0 takes the disk.
	DataMB int
	// Env is added to the environment of every command, as "KEY=value".
	Env []string
	// Setup is called at each boot, inside the namespaces, once everything is mounted.
	Setup func() error
}

// Instance is one confined Boxyard. Close it.
type Instance struct {
	// ID is unique; Cgroup is the cgroup root, and contains it.
	ID, Cgroup string
	// Binary is the boxyard under test.
	Binary string

	repo       string
	dir        string   // everything that the instance writes, outside of the namespaces
	owner      *os.File // see own
	payloadDir string
	opts       Options
	sysctls    map[string]string

	mu sync.Mutex
	ns namespaces
}

// Start makes an instance. Nothing of Boxyard runs in it yet. It needs root.
func Start(opts Options) (*Instance, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("harness: needs root, for namespaces of its own; try: sudo make test")
	}
	repo, err := Repository()
	if err != nil {
		return nil, err
	}
	var random [4]byte
	_, _ = rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	in := &Instance{
		ID:         id,
		Cgroup:     prefix + id,
		Binary:     cmp.Or(opts.Binary, os.Getenv("BOXYARD_BIN"), filepath.Join(repo, "bin", "boxyard")),
		repo:       repo,
		dir:        filepath.Join(instances, prefix+id),
		payloadDir: os.Getenv("BOXYARD_PAYLOAD_DIR"),
		opts:       opts,
	}
	if _, err := os.Stat(in.Binary); err != nil {
		return nil, fmt.Errorf("harness: no binary to test: %w; try: make build", err)
	}
	if err := sweep(); err != nil {
		return nil, err
	}
	if in.sysctls, err = hostSysctls(); err != nil {
		return nil, err
	}
	if err := in.create(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(in.dir))
	}
	return in, nil
}

// StartUp makes an instance, starts Boxyard in it, and loads the archives of images with docker. Close it.
func StartUp(ctx context.Context, opts Options, archives ...string) (*Instance, error) {
	in, err := Start(opts)
	if err != nil {
		return nil, err
	}
	up, err := in.Up(ctx)
	if err == nil && up.Code != 0 {
		err = fmt.Errorf("boxyard up: exit code %d\n%s", up.Code, up.Output())
	}
	for _, archive := range archives {
		if err == nil {
			_, err = in.Docker(ctx, "load", "--quiet", "--input", archive)
		}
	}
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// create makes the directories and the first pair of namespaces.
func (in *Instance) create() error {
	for _, name := range []string{"data", "kubelet", "log", "sys"} {
		if err := os.MkdirAll(filepath.Join(in.dir, name), 0o755); err != nil {
			return fmt.Errorf("harness: %w", err)
		}
	}
	if err := in.own(); err != nil {
		return fmt.Errorf("harness: %w", err)
	}
	if !in.opts.NoPayload && in.payloadDir == "" && in.opts.DataMB == 0 {
		if err := in.takePayload(); err != nil {
			return err
		}
	}
	if err := in.boot(); err != nil {
		return err
	}
	err := in.Inside(func() error {
		// What the user of this machine has there is not ours to use.
		for _, name := range []string{"/root/.kube", "/root/.docker", "/root/.config"} {
			if err := os.RemoveAll(name); err != nil {
				return err
			}
		}
		for _, name := range []string{"/etc/boxyard", "/etc/docker"} {
			if err := os.RemoveAll(name); err != nil {
				return err
			}
		}
		return in.writeConfig()
	})
	if err != nil {
		return errors.Join(fmt.Errorf("harness: %w", err), in.ns.close())
	}
	return nil
}

// writeConfig runs inside the namespaces.
func (in *Instance) writeConfig() error {
	if err := os.MkdirAll("/etc/boxyard", 0o755); err != nil {
		return err
	}
	return os.WriteFile("/etc/boxyard/config.yaml", []byte("cgroupRoot: "+in.Cgroup+"\n"+in.opts.Config), 0o644)
}

// SetConfig replaces config.yaml by the one with these lines added.
func (in *Instance) SetConfig(lines string) error {
	in.opts.Config = lines
	return in.Inside(in.writeConfig)
}

// Reboot does to the instance what a reboot does to a machine: every process is gone, without
// a chance to clean up, and so are /run, bridges, rules, mounts and cgroups. Files stay.
func (in *Instance) Reboot() error {
	if _, err := in.killAll(); err != nil {
		return err
	}
	if err := in.removeCgroups(); err != nil {
		return err
	}
	if err := in.ns.close(); err != nil {
		return err
	}
	return in.boot()
}

// Close stops Boxyard, ends what is left and removes the instance. Its error says what a
// clean `boxyard down` should not have left.
func (in *Instance) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	down, err := in.Exec(ctx, Command{Name: in.Binary, Args: []string{"down"}})
	var errs []error
	const notRunning = 5
	if err != nil || down.Code != 0 && down.Code != notRunning {
		errs = append(errs, fmt.Errorf("boxyard down: exit code %d: %w\n%s", down.Code, orNone(err), down.Output()))
	}
	left, err := in.killAll()
	errs = append(errs, err)
	if len(errs) == 1 && len(left) > 0 {
		errs = append(errs, fmt.Errorf("after boxyard down there still ran: %v", left))
	}
	errs = append(errs, in.storePayload(), in.removeCgroups(), in.ns.close(), in.restoreSysctls(), in.remove(), in.nothingLeft())
	return errors.Join(errs...)
}

// remove deletes the directory. File systems of dead namespaces take a moment to go.
func (in *Instance) remove() error {
	if os.Getenv("BOXYARD_TEST_KEEP") == "1" {
		return in.disown()
	}
	return errors.Join(poll(10*time.Second, func() error { return os.RemoveAll(in.dir) }), in.disown())
}

// nothingLeft looks for traces on the host.
func (in *Instance) nothingLeft() error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	if containsLine(mounts, in.ID) {
		return fmt.Errorf("mounts of instance %s are left on the host", in.ID)
	}
	cgroups, err := in.cgroups()
	if err != nil {
		return err
	}
	if len(cgroups) > 0 {
		return fmt.Errorf("cgroups are left: %v", cgroups)
	}
	return nil
}

// WipeData empties /var/lib/boxyard except for the extracted payload, and /var/lib/kubelet:
// the next `up` creates everything anew. Boxyard must be down.
func (in *Instance) WipeData() error {
	return in.Inside(func() error {
		for _, dir := range []string{"/var/lib/boxyard", "/var/lib/kubelet"} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				return fmt.Errorf("harness: wipe: %w", err)
			}
			for _, entry := range entries {
				if entry.Name() == "payload" {
					continue
				}
				if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
					return fmt.Errorf("harness: wipe: %w", err)
				}
			}
		}
		return nil
	})
}

// DataPath and LogPath are where the instance's /var/lib/boxyard and /var/log are outside.
func (in *Instance) DataPath(elem ...string) string {
	return filepath.Join(append([]string{in.dir, "data"}, elem...)...)
}

// LogPath is DataPath for /var/log.
func (in *Instance) LogPath(elem ...string) string {
	return filepath.Join(append([]string{in.dir, "log"}, elem...)...)
}

// Repository is the root of the source tree that the working directory is in.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("harness: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "ARCHITECTURE.md")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("harness: not inside the repository")
		}
		dir = parent
	}
}

// poll calls check until it gives nil, and returns its last error after the limit.
func poll(limit time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
