package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/test/harness"
)

// peersDir is where each peer has its files, in a directory of its own.
const peersDir = "/var/tmp"

// peer describes another engine. What is set here and is not upstream's default:
//
//   - the parent cgroup, so that nothing is left behind on the machine;
//   - podman's cgroup manager, because no systemd runs here, and its runtime, because Debian's crun refuses a
//     machine whose cgroups are of both versions;
//   - podman's ulimits, which it raises above what a machine without CAP_SYS_RESOURCE allows.
type peer struct {
	name string
	root string // a directory of Debian packages that is laid over /usr; "" for none
	// path is searched first for programs.
	path string
	// daemon is the command that serves, of which %s is the cgroup; nil where there is none.
	daemon []string
	// client comes before a command, and extra, of which %s is the cgroup, after run and build.
	client, extra []string
	env           []string
	// storage are the directories that need a file system of their own: images cannot be unpacked on an overlay.
	storage []string
	// version is the command that prints it.
	version []string
}

// newMoby is moby as its upstream publishes it: the same modules as in Boxyard's payload with no configuration, a
// containerd of its own, iptables, and docker-proxy.
func newMoby(ctx context.Context, repo string) (*subject, error) {
	payload := filepath.Join(repo, "build", "payload")
	return peer{
		name: moby, root: filepath.Join(repo, "build", "bench", "iptables"), path: payload,
		daemon:  []string{filepath.Join(payload, "dockerd"), "--cgroup-parent=%s"},
		client:  []string{filepath.Join(payload, "docker"), "--host=unix:///run/docker.sock"},
		storage: []string{"/var/lib/docker"},
		version: []string{filepath.Join(payload, "dockerd"), "--version"},
	}.start(ctx)
}

// newDebianDocker is Debian's docker.io, whose client has BuildKit but asks for the classic builder.
func newDebianDocker(ctx context.Context, repo string) (*subject, error) {
	return peer{
		name: "docker.io", root: filepath.Join(repo, "build", "bench", "docker.io"),
		daemon:  []string{"/usr/sbin/dockerd", "--cgroup-parent=%s"},
		client:  []string{"/usr/bin/docker"},
		env:     []string{"DOCKER_BUILDKIT=1"},
		storage: []string{"/var/lib/docker", "/var/lib/containerd"},
		version: []string{"/usr/sbin/dockerd", "--version"},
	}.start(ctx)
}

// newPodman is Debian's podman.
func newPodman(ctx context.Context, repo string) (*subject, error) {
	return peer{
		name: "podman", root: filepath.Join(repo, "build", "bench", "podman"),
		client:  []string{"/usr/bin/podman", "--cgroup-manager=cgroupfs", "--runtime=/usr/sbin/runc"},
		extra:   []string{"--cgroup-parent=%s", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"},
		storage: []string{"/var/lib/containers"},
		version: []string{"/usr/bin/podman", "--version"},
	}.start(ctx)
}

func (p peer) start(ctx context.Context) (s *subject, err error) {
	dir, err := os.MkdirTemp(peersDir, "boxyard-bench-"+p.name+"-")
	if err != nil {
		return nil, err
	}
	s = &subject{name: p.name, dir: dir, client: p.client, env: p.environment(), release: func() error { return removeAll(dir) }}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start %s: %w", p.name, err), s.close())
			s = nil
		}
	}()
	s.in, err = harness.Start(harness.Options{Setup: func() error { return p.mount(dir) }})
	if err != nil {
		return s, err
	}
	s.extra = p.inCgroup(s, p.extra)
	version, err := s.run(ctx, p.version...)
	if err != nil {
		return s, err
	}
	s.version = strings.TrimSpace(version.Stdout)
	if p.daemon == nil {
		return s, nil
	}
	return s, p.serve(ctx, s)
}

func (p peer) environment() []string {
	path := "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	if p.path != "" {
		path = strings.Replace(path, "=", "="+p.path+":", 1)
	}
	return append([]string{path}, p.env...)
}

// mount runs inside the namespaces.
func (p peer) mount(dir string) error {
	if p.root != "" {
		if err := unix.Mount("overlay", "/usr", "overlay", 0, "lowerdir="+filepath.Join(p.root, "usr")+":/usr"); err != nil {
			return fmt.Errorf("lay %s over /usr: %w; try: make bench", p.root, err)
		}
		// /etc is an overlay already, and the instance's own.
		if err := os.CopyFS("/etc/boxyard-bench", os.DirFS(filepath.Join(p.root, "etc"))); err != nil {
			return err
		}
		if out, err := exec.Command("cp", "--recursive", "--no-clobber", "/etc/boxyard-bench/.", "/etc").CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	for i, path := range p.storage {
		own := filepath.Join(dir, fmt.Sprint("storage-", i))
		if err := os.MkdirAll(own, 0o711); err != nil {
			return err
		}
		if err := os.MkdirAll(path, 0o711); err != nil {
			return err
		}
		if err := unix.Mount(own, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", path, err)
		}
	}
	return nil
}

// inCgroup fills in the cgroup.
func (p peer) inCgroup(s *subject, args []string) []string {
	filled := make([]string, len(args))
	for i, arg := range args {
		filled[i] = strings.ReplaceAll(arg, "%s", "/"+s.in.Cgroup+"/"+p.name)
	}
	return filled
}

// serve starts the daemon and waits for its first answer.
func (p peer) serve(ctx context.Context, s *subject) error {
	if err := s.serve(ctx, p.inCgroup(s, p.daemon)...); err != nil {
		return err
	}
	return s.answers(ctx, 30*time.Second, func(ctx context.Context) error {
		_, err := s.exec(ctx, "version")
		return err
	})
}

// removeAll waits for file systems of dead namespaces to go.
func removeAll(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return until(ctx, func(context.Context) error { return os.RemoveAll(dir) })
}
