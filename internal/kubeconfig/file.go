package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/fault"
)

// makeDir makes dir where it is missing, and says so with madeDirectory.
func makeDir(dir string) (made string, err error) {
	err = os.Mkdir(dir, 0o700)
	if err == nil {
		return madeDirectory, nil
	}
	if errors.Is(err, fs.ErrExist) {
		return "", nil
	}
	return "", err
}

// resolve follows links, so that a file kept elsewhere is changed there and the link stays.
func resolve(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	target, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &fault.Error{
			Code:    "kubeconfig-link",
			Summary: path + " is a link that leads nowhere; it was left as it is",
			Hint:    "rm " + path,
			Cause:   err,
		}
	}
	return target, err
}

// lock takes the lock file that clientcmd takes (client-go tools/clientcmd/config.go, lockFile), so
// that a kubectl config command at the same moment loses nothing.
func lock(path string) (unlock func(), err error) {
	name := path + ".lock"
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(20 * time.Millisecond) { //nolint:forbidigo // a poll with a deadline
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0)
		if err == nil {
			_ = f.Close()
			return func() { _ = os.Remove(name) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, &fault.Error{
				Code:    "kubeconfig-locked",
				Summary: path + " is being changed by another program, or one left its lock behind",
				Hint:    "when no kubectl config command runs: rm " + name,
			}
		}
	}
}

// asUser runs f with u's rights on files: the file system user and group of one thread, without
// supplementary groups. The kernel drops the capabilities that override file permissions with the
// change of the user. The thread is not used for anything else afterwards.
func asUser(u User, f func() error) error {
	if !filepath.IsAbs(u.Home) {
		return fmt.Errorf("home directory %q of user %d is not absolute", u.Home, u.UID)
	}
	if os.Geteuid() == u.UID {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked, so the runtime ends the thread with this goroutine.
		runtime.LockOSThread()
		if err := become(u); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

func become(u User) error {
	// The system call itself, because syscall.Setgroups changes every thread of the process.
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("drop supplementary groups: %w", errno)
	}
	// The calls report no error; asking again with an invalid id tells what holds.
	if _, err := unix.SetfsgidRetGid(u.GID); err != nil {
		return fmt.Errorf("take group %d: %w", u.GID, err)
	}
	if _, err := unix.SetfsuidRetUid(u.UID); err != nil {
		return fmt.Errorf("take user %d: %w", u.UID, err)
	}
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if uid != u.UID || gid != u.GID {
		return fmt.Errorf("the kernel did not let this process act as user %d, group %d on files", u.UID, u.GID)
	}
	return nil
}
