package daemon

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/boxyard/boxyard/internal/access"
	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/config"
	"github.com/boxyard/boxyard/internal/kubeconfig"
	"github.com/boxyard/boxyard/internal/paths"
	"github.com/boxyard/boxyard/internal/pki"
)

// access is who may use the sockets and the kubeconfig: the group, and who ran up with sudo.
func (m *machine) access() (access.Access, error) { return accessOf(m.layout, m.config) }

func accessOf(l paths.Layout, c config.Config) (access.Access, error) {
	a, err := access.FromEnvironment(c.Group)
	if err != nil {
		return a, err
	}
	users, err := Users(l)
	if err != nil {
		return a, err
	}
	for _, u := range users {
		if u.UID != 0 && !slices.Contains(a.UIDs, u.UID) {
			a.UIDs = append(a.UIDs, u.UID)
		}
	}
	return a, nil
}

// publish writes the kubeconfig and puts it into that of every user.
func (m *machine) publish() error {
	if !m.has("cluster") {
		return nil
	}
	admin, err := pki.AdminKubeconfig(m.pki)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(m.layout.Config, 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(m.layout.Kubeconfig(), admin, 0o600); err != nil {
		return err
	}
	a, err := m.access()
	if err != nil {
		return err
	}
	if err := a.Apply(m.layout.Kubeconfig(), 0o640); err != nil {
		return err
	}
	users, err := Users(m.layout)
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := kubeconfig.Merge(u.kube(), admin); err != nil {
			// A user's broken file is the user's: it keeps nothing from starting.
			m.log.Warn("cannot add the context boxyard", "home", u.Home, "error", err)
		}
	}
	return nil
}

// GrantAll gives everybody in access.json access to what is there, without a daemon's help.
func GrantAll(l paths.Layout) error {
	c, err := config.Load(l.ConfigFile())
	if err != nil {
		return err
	}
	a, err := accessOf(l, c)
	if err != nil {
		return err
	}
	for path, mode := range map[string]os.FileMode{
		l.ControlSocket(): 0o660, l.DockerSocket(): 0o660, l.Kubeconfig(): 0o640,
	} {
		if err := a.Apply(path, mode); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	admin, err := os.ReadFile(l.Kubeconfig())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	users, err := Users(l)
	if err != nil {
		return err
	}
	var errs []error
	for _, u := range users {
		errs = append(errs, kubeconfig.Merge(u.kube(), admin))
	}
	return errors.Join(errs...)
}
