package access

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/boxyard/boxyard/internal/fault"
)

// dockerGroup is whom Docker's packages give their socket to.
const dockerGroup = "docker"

// Access is who may use a file. Root always may.
type Access struct {
	GID  int   // the file's group, which gets what the mode says
	UIDs []int // users who may read and write, whatever the mode says
}

// FromEnvironment is the access of a command run now: for the configured group
// ("" takes docker where that group exists, else root) and for the user who ran
// it through sudo.
func FromEnvironment(group string) (Access, error) {
	return resolve(group, os.Getenv("SUDO_UID"), lookupGroup)
}

func lookupGroup(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

func resolve(group, sudoUID string, lookup func(string) (int, error)) (Access, error) {
	var a Access
	if uid, err := strconv.ParseUint(sudoUID, 10, 31); err == nil && uid != 0 {
		a.UIDs = []int{int(uid)}
	}
	name := group
	if name == "" {
		name = dockerGroup
	}
	gid, err := lookup(name)
	var unknown user.UnknownGroupError
	switch {
	case err == nil:
		a.GID = gid
		return a, nil
	case group == "" && errors.As(err, &unknown):
		return a, nil
	case errors.As(err, &unknown):
		return Access{}, &fault.Error{
			Code:    "group-unknown",
			Summary: fmt.Sprintf("group %s does not exist on this machine", group),
			Hint:    fmt.Sprintf("sudo groupadd --system %s, or set group to another one in config.yaml", group),
			Exit:    fault.ExitUsage,
		}
	default:
		return Access{}, fmt.Errorf("look up group %s: %w", name, err)
	}
}

// Apply gives path its group and mode, and grants each of UIDs reading and writing,
// or reading and entering of a directory. Grants of an earlier call that are not
// repeated end. The file's mode as others show it then has, in the group's place,
// the most that any of them may; the group itself has what mode says.
func (a Access) Apply(path string, mode os.FileMode) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("set access: %w", err)
	}
	if info.Mode()&os.ModeSymlink != 0 {
		return fmt.Errorf("set access of %s: it is a symbolic link", path)
	}
	if err := os.Lchown(path, -1, a.GID); err != nil {
		return fmt.Errorf("set access: %w", err)
	}
	if len(a.UIDs) == 0 {
		return a.applyMode(path, mode)
	}
	grant := read | write
	if info.IsDir() {
		grant = read | execute
	}
	// The ACL sets the mode as well, in one step, so the file is never open to the
	// group under the mask of the users.
	if err := unix.Lsetxattr(path, aclAttribute, encodeACL(mode, grant, a.UIDs), 0); err != nil {
		return aclError(path, err)
	}
	return nil
}

func (a Access) applyMode(path string, mode os.FileMode) error {
	err := unix.Lremovexattr(path, aclAttribute)
	if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("remove the ACL of %s: %w", path, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("set access: %w", err)
	}
	return nil
}

func aclError(path string, err error) error {
	if !errors.Is(err, unix.ENOTSUP) {
		return fmt.Errorf("set the ACL of %s: %w", path, err)
	}
	return &fault.Error{
		Code:    "acl-unsupported",
		Summary: fmt.Sprintf("the file system of %s has no ACLs, so the user who ran sudo cannot be given access to it", path),
		Hint:    "use sudo, or set group in config.yaml to a group of that user",
		Cause:   err,
	}
}

// sortedUnique is the order in which the kernel accepts users in an ACL.
func sortedUnique(uids []int) []int {
	return slices.Compact(slices.Sorted(slices.Values(uids)))
}
