package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/fault"
	"github.com/boxyard/boxyard/internal/systemd"
)

// Where install puts this program, and links to the clients.
const (
	systemLinkDir = "/usr/local/bin"
	systemExe     = systemLinkDir + "/boxyard"
)

func (a *App) installCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Start Boxyard now and at boot, as a systemd unit",
		Args:  atMost(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.install(cmd, timeout) },
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "give up waiting after this time; Boxyard goes on")
	return cmd
}

func (a *App) install(cmd *cobra.Command, timeout time.Duration) error {
	if err := a.needsRoot(cmd); err != nil {
		return err
	}
	if !systemd.Booted() {
		return systemd.NotBooted()
	}
	s := settings{file: a.Layout.ConfigFile()}
	if _, _, err := s.load(); err != nil {
		return err
	}
	ctx := cmd.Context()
	// One that runs already gives its parts' containers to the unit's daemon.
	if err := a.stop(ctx, true); err != nil && fault.Code(err) != "not-running" {
		return err
	}
	if err := copyExe(a.Exe, systemExe); err != nil {
		return fmt.Errorf("install %s: %w", systemExe, err)
	}
	if err := atomicfile.Write(systemd.UnitFile, []byte(systemd.Unit(systemExe, a.proxyEnv())), 0o644); err != nil {
		return err
	}
	if err := makeLinks(systemLinkDir, a.Layout.BinDir(), a.onPath); err != nil {
		return err
	}
	if err := a.rememberUser(ctx); err != nil {
		return err
	}
	begin := time.Now()
	if err := systemd.Enable(ctx); err != nil {
		return err
	}
	if err := a.awaitAnswer(ctx, func() (string, bool) { return systemd.Ended(ctx) }); err != nil {
		return err
	}
	return a.await(ctx, timeout, begin)
}

func (a *App) uninstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "uninstall",
		Short: "Stop Boxyard and take the systemd unit back; data stays",
		Args:  atMost(0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.uninstall(cmd) },
	}
}

func (a *App) uninstall(cmd *cobra.Command) error {
	if err := a.needsRoot(cmd); err != nil {
		return err
	}
	if !systemd.Booted() {
		return systemd.NotBooted()
	}
	ctx := cmd.Context()
	err := a.stop(ctx, false)
	if fault.Code(err) == "not-running" {
		err = a.downLeftovers(ctx, "") // systemctl stop leaves containers running
	}
	if err != nil {
		return err
	}
	if err := systemd.Disable(ctx); err != nil {
		return err
	}
	if err := removeLinks(systemLinkDir, a.Layout.BinDir()); err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "The unit is gone. Data stays in %s until boxyard reset; the program stays as %s.\n", a.Layout.Data, systemExe)
	return nil
}

// copyExe copies this program, unless it is there already. A running copy goes on with the old file.
func copyExe(from, to string) error {
	if same, err := sameFile(from, to); err != nil || same {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	tmp, err := os.CreateTemp(filepath.Dir(to), ".boxyard-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(tmp, in)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

func sameFile(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	infoB, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(infoA, infoB), nil
}

// makeLinks links the clients into dir, except names that the user has on the PATH already.
func makeLinks(dir, bin string, taken func(string) bool) error {
	for _, name := range linkedClients() {
		if taken(name) {
			continue
		}
		err := os.Symlink(filepath.Join(bin, name), filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	return nil
}

// removeLinks removes those that lead into bin, and no other file.
func removeLinks(dir, bin string) error {
	for _, name := range linkedClients() {
		link := filepath.Join(dir, name)
		if target, err := os.Readlink(link); err != nil || target != filepath.Join(bin, name) {
			continue
		}
		if err := os.Remove(link); err != nil {
			return err
		}
	}
	return nil
}
