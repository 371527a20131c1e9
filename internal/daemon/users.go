package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/kubeconfig"
	"github.com/boxyard/boxyard/internal/paths"
)

// User is somebody who ran `boxyard up`, with sudo or as root.
type User struct {
	UID  int    `json:"uid"`
	GID  int    `json:"gid"`
	Home string `json:"home"`
}

func (u User) kube() kubeconfig.User { return kubeconfig.User{UID: u.UID, GID: u.GID, Home: u.Home} }

// usersFile remembers the users, so that a daemon that is started at boot gives them access too.
func usersFile(l paths.Layout) string { return filepath.Join(l.Data, "access.json") }

// Users returns those who have access.
func Users(l paths.Layout) ([]User, error) {
	data, err := os.ReadFile(usersFile(l))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read who has access: %w", err)
	}
	var users []User
	if err := json.Unmarshal(data, &users); err != nil {
		return nil, fmt.Errorf("read who has access: %s: %w", usersFile(l), err)
	}
	return users, nil
}

// Remember adds u to those who have access, from the daemon's next start on.
func Remember(l paths.Layout, u User) error {
	users, err := Users(l)
	if err != nil {
		return err
	}
	if slices.Contains(users, u) {
		return nil
	}
	users = slices.DeleteFunc(users, func(o User) bool { return o.UID == u.UID })
	data, err := json.MarshalIndent(append(users, u), "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.Data, 0o711); err != nil {
		return err
	}
	return atomicfile.Write(usersFile(l), append(data, '\n'), 0o600)
}
