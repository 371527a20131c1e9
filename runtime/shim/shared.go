package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	task "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/process"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/runc"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
)

const (
	// sharedID stands for a container's ID in the arguments of a shared shim.
	sharedID = "boxyard"
	// answerTime is how long a shared shim may take to say that it is there.
	answerTime = 5 * time.Second
	lockFile   = "lock"
)

// shared starts one shim for all containers of a namespace. It works in a directory of its own beside the sockets,
// which outlives every container.
type shared struct{ shim.Shim }

// Start gives the address of the shared shim, and starts that one before if it is not there. containerd calls it in
// a short-lived process for each container.
func (s shared) Start(ctx context.Context, params *bootapi.BootstrapParams) (*bootapi.BootstrapResult, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	sockets := params.GetSocketDir()
	if sockets == "" {
		return nil, errors.New("containerd names no directory for the shims' sockets")
	}
	dir := filepath.Join(filepath.Dir(sockets), "shim", namespace)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the shim's directory: %w", err)
	}
	address, err := shim.CreateSocketAddress(ctx, sockets, params.GetContainerdGrpcAddress(), sharedID, false)
	if err != nil {
		return nil, fmt.Errorf("name the shim's socket: %w", err)
	}
	d := daemon{
		dir: dir, namespace: namespace, sockets: sockets, address: address,
		containerd: params.GetContainerdGrpcAddress(),
		debug:      params.GetLogLevel() <= bootapi.LogLevel_LOG_LEVEL_DEBUG,
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := d.ensure(ctx); err != nil {
		return nil, err
	}
	return &bootapi.BootstrapResult{Version: 3, Protocol: "ttrpc", Address: address}, nil
}

// Stop clears away what a container has left; containerd calls it, in a process of its own, after each container.
// Upstream's asks runc to delete the container in any case. It is asked here only if it knows it.
func (s shared) Stop(ctx context.Context, id string) (shim.StopStatus, error) {
	bundle, err := os.Getwd()
	if err != nil {
		return shim.StopStatus{}, fmt.Errorf("find the bundle: %w", err)
	}
	bundle = filepath.Join(filepath.Dir(bundle), id)
	clean, err := isClean(ctx, bundle, id)
	if err != nil || !clean {
		return s.Shim.Stop(ctx, id)
	}
	exit, err := runc.ReadExitStatus(bundle)
	if err != nil {
		return s.Shim.Stop(ctx, id)
	}
	return shim.StopStatus{Pid: exit.Pid, ExitStatus: exit.Status, ExitedAt: exit.Timestamp}, nil
}

// isClean tells whether runc has forgotten the container and its root file system is unmounted.
func isClean(ctx context.Context, bundle, id string) (bool, error) {
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return false, err
	}
	options, err := runc.ReadOptions(bundle)
	if err != nil {
		return false, fmt.Errorf("read the runtime's options: %w", err)
	}
	root := process.RuncRoot
	if options.GetRoot() != "" {
		root = options.GetRoot()
	}
	if _, err := os.Lstat(filepath.Join(root, namespace, id)); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	// Nothing is mounted on it: EINVAL. It may be missing, too.
	err = unix.Unmount(filepath.Join(bundle, "rootfs"), unix.UMOUNT_NOFOLLOW)
	return errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT), nil
}

// daemon is the shared shim as those who look for it see it.
type daemon struct {
	dir                 string // where it works
	namespace           string
	sockets             string // containerd's directory for the shims' sockets
	address, containerd string
	debug               bool
}

// ensure returns when the shim answers. Two containers that come at once find each other by the lock.
func (d daemon) ensure(ctx context.Context) error {
	for {
		there, err := d.look(ctx)
		if there || err != nil {
			return err
		}
		// It is leaving: its lock comes free, and its socket goes, when it is gone.
		select {
		case <-ctx.Done():
			return fmt.Errorf("the shim at %s does not end: %w", d.address, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// look asks the shim, and starts one where there is none. It gives false when the one there is about to end.
func (d daemon) look(ctx context.Context) (there bool, err error) {
	unlock, err := lock(ctx, d.dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	err = d.ask(ctx)
	switch {
	case err == nil:
		return true, nil
	case errdefs.IsUnavailable(err):
		return false, nil
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return true, d.start(ctx)
	default:
		return false, fmt.Errorf("the shim at %s does not answer: %w", d.address, err)
	}
}

// ask calls the shim, which restarts its idle time.
func (d daemon) ask(ctx context.Context) error {
	conn, err := shim.AnonDialer(d.address, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	client := ttrpc.NewClient(conn)
	_, err = task.NewTTRPCTaskClient(client).Connect(ctx, &task.ConnectRequest{ID: sharedID})
	if errors.Is(err, ttrpc.ErrClosed) {
		return fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err) // it ended meanwhile
	}
	if err := errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return nil
}

// start runs this program again, as the shim, with the socket as file 3 (containerd pkg/shim: serveListener).
func (d daemon) start(ctx context.Context) error {
	if err := shim.RemoveSocket(d.address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a socket that nobody answers: %w", err)
	}
	listener, err := shim.NewSocket(d.address)
	if err != nil {
		return fmt.Errorf("listen for containerd: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	defer func() { _ = listener.Close() }()
	cmd, err := d.command(listener)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	if err := errors.Join(shim.AdjustOOMScore(cmd.Process.Pid), d.ask(ctx)); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("start the shim: %w", err)
	}
	return nil
}

func (d daemon) command(listener *net.UnixListener) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	socket, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("pass on the socket: %w", err)
	}
	// Where upstream's code looks for the directory of the sockets when the shim ends (pkg/shim: cleanupSockets).
	if err := os.Symlink(d.sockets, filepath.Join(d.dir, "s")); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("link the sockets' directory: %w", err)
	}
	args := []string{"-namespace", d.namespace, "-id", sharedID, "-address", d.containerd}
	if d.debug {
		args = append(args, "-debug")
	}
	// It outlives this process: no context.
	cmd := exec.Command(self, args...) //nolint:noctx
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=4") // as upstream's
	cmd.ExtraFiles = []*os.File{socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

// lock waits for the lock of the shared shim that works in dir.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	for {
		unlock, ok, err := flock(dir)
		if ok || err != nil {
			return unlock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %s: %w", filepath.Join(dir, lockFile), ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// tryLock takes the lock of the shim that this process is.
func tryLock() (unlock func(), ok bool) {
	unlock, ok, err := flock(".")
	return unlock, ok && err == nil
}

// flock takes the lock in dir if it is free; it comes free with unlock or with the end of the process.
func flock(dir string) (unlock func(), ok bool, err error) {
	fd, err := unix.Open(filepath.Join(dir, lockFile), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("open the shim's lock: %w", err)
	}
	err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("take the shim's lock: %w", err)
	}
	return func() { _ = unix.Close(fd) }, true, nil
}
