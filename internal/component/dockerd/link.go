package dockerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/boxyard/boxyard/internal/fault"
)

// PublicSocket is where Docker's clients look when nobody tells them otherwise.
const PublicSocket = "/var/run/docker.sock"

// checkLink fails where the user insists on a path that something else has.
func checkLink(o Options) error {
	if o.Socket != "on" || o.PublicLink == "" {
		return nil
	}
	free, err := linkFree(o)
	if err != nil {
		return err
	}
	if free {
		return nil
	}
	return &fault.Error{
		Code:    "docker-socket-taken",
		Summary: fmt.Sprintf("%s belongs to another Docker", o.PublicLink),
		Hint:    "stop that Docker and remove the file, or set docker.socket to auto in config.yaml",
	}
}

// makeLink makes the public socket a link to ours: permissions and ACL are those of what it
// leads to. A path that is taken, even by a dead socket, is another's and is left alone.
func makeLink(o Options) error {
	if o.Socket == "off" || o.PublicLink == "" {
		return nil
	}
	free, err := linkFree(o)
	if err != nil || !free {
		return err
	}
	err = os.Symlink(o.Layout.DockerSocket(), o.PublicLink)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the public Docker socket: %w", err)
	}
	return nil
}

func linkFree(o Options) (bool, error) {
	if _, err := os.Lstat(o.PublicLink); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return linkIsOurs(o.PublicLink, o.Layout.DockerSocket())
}

func linkIsOurs(link, socket string) (bool, error) {
	info, err := os.Lstat(link)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the public Docker socket: %w", err)
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return false, nil
	}
	target, err := os.Readlink(link)
	if err != nil {
		return false, fmt.Errorf("look at the public Docker socket: %w", err)
	}
	return target == socket, nil
}

// RemoveLink takes the public socket away, if it is a link to socket and nothing else.
func RemoveLink(link, socket string) error {
	if link == "" {
		return nil
	}
	ours, err := linkIsOurs(link, socket)
	if err != nil || !ours {
		return err
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the public Docker socket: %w", err)
	}
	return nil
}
