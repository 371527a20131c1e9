//go:build vm

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// machine is one virtual machine. Its disk outlives a boot, so that a reboot
// and a power cut can be tried.
type machine struct {
	t     *testing.T
	image string // directory made by image.sh
	disk  string
	port  int
	qemu  *exec.Cmd
	ended chan struct{}
}

// newMachine copies the image's disk; the copy is deleted with the test.
func newMachine(t *testing.T, image string) *machine {
	t.Helper()
	disk := filepath.Join(image, "run.raw")
	if out, err := exec.CommandContext(t.Context(), "cp", "--sparse=always", "--reflink=auto", filepath.Join(image, "disk.raw"), disk).CombinedOutput(); err != nil {
		t.Fatalf("copy the disk: %v\n%s", err, out)
	}
	m := &machine{t: t, image: image, disk: disk, port: freePort(t)}
	t.Cleanup(func() {
		m.powerCut()
		if err := os.Remove(disk); err != nil {
			t.Errorf("remove the disk: %v", err)
		}
	})
	return m
}

// boot starts the machine and waits until it takes commands.
func (m *machine) boot() {
	m.t.Helper()
	console, err := os.OpenFile(filepath.Join(m.image, "console.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = console.Close() }()
	// The context is not the test's: a power cut is a deliberate kill, and Cleanup does the rest.
	m.qemu = exec.CommandContext(context.WithoutCancel(m.t.Context()), "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "6144",
		"-kernel", filepath.Join(m.image, "vmlinuz"), "-initrd", filepath.Join(m.image, "initrd.img"),
		"-append", "root=/dev/vda rw console=ttyS0 systemd.show_status=0",
		"-drive", "file="+m.disk+",format=raw,if=virtio,cache=writeback",
		"-netdev", fmt.Sprintf("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:%d-:22", m.port),
		"-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci",
		"-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none")
	m.qemu.Stdout, m.qemu.Stderr = console, console
	if err := m.qemu.Start(); err != nil {
		m.t.Fatalf("start qemu: %v", err)
	}
	m.ended = make(chan struct{})
	go func() {
		_ = m.qemu.Wait()
		close(m.ended)
	}()
	m.eventually(10*time.Minute, "the machine takes commands", func() error {
		select {
		case <-m.ended:
			m.t.Fatalf("qemu ended; see %s", console.Name())
		default:
		}
		_, err := m.try(20*time.Second, "root", "true")
		return err
	})
}

// shutdown asks the guest's systemd to power off and waits for qemu's end.
func (m *machine) shutdown() {
	m.t.Helper()
	_, _ = m.try(time.Minute, "root", "systemctl poweroff")
	select {
	case <-m.ended:
	case <-time.After(5 * time.Minute):
		m.t.Fatal("the machine does not power off within 5 minutes")
	}
}

// powerCut ends the machine as a pulled plug does.
func (m *machine) powerCut() {
	if m.qemu == nil {
		return
	}
	_ = m.qemu.Process.Kill()
	<-m.ended
	m.qemu = nil
}

// run executes a shell command in the guest and fails the test if it fails.
func (m *machine) run(user, command string) string {
	m.t.Helper()
	m.t.Logf("[%s] $ %s", user, command)
	out, err := m.try(10*time.Minute, user, command)
	if err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// try is run without the verdict.
func (m *machine) try(limit time.Duration, user, command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.t.Context()), limit)
	defer cancel()
	cmd := m.ssh(ctx, user, command)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w", command, errors.Join(err, ctx.Err()))
	}
	return strings.TrimSpace(out.String()), nil
}

func (m *machine) ssh(ctx context.Context, user, command string) *exec.Cmd {
	return exec.CommandContext(ctx, "ssh", "-p", strconv.Itoa(m.port), "-i", filepath.Join(m.image, "key"),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "ConnectTimeout=15", "-o", "BatchMode=yes", user+"@127.0.0.1", command)
}

// put copies a file of this host into the guest.
func (m *machine) put(user, from, to string, mode os.FileMode) {
	m.t.Helper()
	file, err := os.Open(from)
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	m.putReader(user, file, to, mode)
}

func (m *machine) putReader(user string, from io.Reader, to string, mode os.FileMode) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Minute)
	defer cancel()
	cmd := m.ssh(ctx, user, fmt.Sprintf("mkdir -p $(dirname %[1]s) && cat > %[1]s && chmod %[2]o %[1]s", to, mode))
	cmd.Stdin = from
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("copy to %s: %v\n%s", to, err, out)
	}
}

// eventually polls until check gives nil, and fails the test with its last error after the limit.
func (m *machine) eventually(limit time.Duration, what string, check func() error) {
	m.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		time.Sleep(time.Second)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
