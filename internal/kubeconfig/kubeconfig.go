package kubeconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/boxyard/boxyard/internal/atomicfile"
	"github.com/boxyard/boxyard/internal/fault"
)

// User is whose ~/.kube/config is meant.
type User struct {
	UID, GID int
	Home     string // absolute
}

const (
	// entry is the name of our cluster, user, context and extension.
	entry = "boxyard"
	// The extension of our context says what of the file's surroundings we made.
	madeFile      = `{"made":"file"}`
	madeDirectory = `{"made":"directory"}`
)

// Merge sets the cluster, the user and the context boxyard in u's kubeconfig to those of admin's
// current context. A current-context that is set stays, and so does the namespace chosen for our
// context. Missing files are made (directory 0700, file 0600); a file that is not a kubeconfig is a
// fault.Error and is left alone.
func Merge(u User, admin []byte) error {
	ours, err := parseAdmin(admin)
	if err != nil {
		return err
	}
	return asUser(u, func() error {
		path := filepath.Join(u.Home, ".kube", "config")
		made, err := makeDir(filepath.Dir(path))
		if err != nil {
			return unwritable(u, path, err)
		}
		return edit(u, path, func(c *clientcmdapi.Config, exists bool) error {
			if exists {
				made = ""
			} else if made == "" {
				made = madeFile
			}
			merge(c, ours, made)
			return nil
		})
	})
}

// Remove takes the cluster, the user and the context boxyard out of u's kubeconfig, and unsets
// current-context if it was ours. A file and a directory that Merge made and that hold nothing else
// are removed. It is not an error when there is nothing to take out.
func Remove(u User) error {
	return asUser(u, func() error {
		path := filepath.Join(u.Home, ".kube", "config")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		var made string
		var empty bool
		err := edit(u, path, func(c *clientcmdapi.Config, _ bool) error {
			made = madeOf(c)
			remove(c)
			empty = len(c.Clusters)+len(c.AuthInfos)+len(c.Contexts) == 0
			if made != "" && empty {
				return errDelete
			}
			return nil
		})
		if err != nil || made != madeDirectory || !empty {
			return err
		}
		// It is no longer empty when kubectl has cached something there: that is the user's.
		_ = os.Remove(filepath.Dir(path))
		return nil
	})
}

// errDelete tells edit to delete the file.
var errDelete = errors.New("delete the kubeconfig")

// edit changes the kubeconfig at path under clientcmd's lock, following links to it.
func edit(u User, path string, change func(c *clientcmdapi.Config, exists bool) error) error {
	target, err := resolve(path)
	if err != nil {
		return unwritable(u, path, err)
	}
	unlock, err := lock(target)
	if err != nil {
		return unwritable(u, target, err)
	}
	defer unlock()

	c, err := clientcmd.LoadFromFile(target)
	exists := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		c, err = clientcmdapi.NewConfig(), nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return unwritable(u, target, err)
	}
	if err != nil {
		return &fault.Error{
			Code:    "kubeconfig-corrupt",
			Summary: target + " is not a kubeconfig; it was left as it is",
			Hint:    fmt.Sprintf("repair it, or move it away: mv %s %s.broken", target, target),
			Cause:   err,
		}
	}
	before := c.DeepCopy()
	switch err := change(c, exists); {
	case errors.Is(err, errDelete):
		return os.Remove(target)
	case err != nil:
		return err
	}
	if exists && reflect.DeepEqual(before, c) {
		return nil
	}
	data, err := clientcmd.Write(*c)
	if err != nil {
		return fmt.Errorf("encode %s: %w", target, err)
	}
	if err := atomicfile.Write(target, data, 0o600); err != nil {
		return unwritable(u, target, err)
	}
	return nil
}

func merge(c, ours *clientcmdapi.Config, made string) {
	context := clientcmdapi.NewContext()
	if old := c.Contexts[entry]; old != nil && old.Cluster == entry && old.AuthInfo == entry {
		context = old
	}
	context.Cluster, context.AuthInfo = entry, entry
	if made != "" {
		context.Extensions[entry] = &runtime.Unknown{Raw: []byte(made), ContentType: runtime.ContentTypeJSON}
	}
	cluster, user := ours.Clusters[entry].DeepCopy(), ours.AuthInfos[entry].DeepCopy()
	if old := c.Clusters[entry]; old != nil {
		cluster.LocationOfOrigin, cluster.Extensions = old.LocationOfOrigin, old.Extensions
	}
	if old := c.AuthInfos[entry]; old != nil {
		user.LocationOfOrigin, user.Extensions = old.LocationOfOrigin, old.Extensions
	}
	c.Clusters[entry], c.AuthInfos[entry], c.Contexts[entry] = cluster, user, context
	if c.CurrentContext == "" {
		c.CurrentContext = entry
	}
}

func remove(c *clientcmdapi.Config) {
	delete(c.Clusters, entry)
	delete(c.AuthInfos, entry)
	delete(c.Contexts, entry)
	if c.CurrentContext == entry {
		c.CurrentContext = ""
	}
}

// madeOf is what Merge noted in our context, "" when the file was there before.
func madeOf(c *clientcmdapi.Config) string {
	context := c.Contexts[entry]
	if context == nil {
		return ""
	}
	u, ok := context.Extensions[entry].(*runtime.Unknown)
	if !ok {
		return ""
	}
	return string(u.Raw)
}

// parseAdmin gives the current context of an admin kubeconfig our names.
func parseAdmin(admin []byte) (*clientcmdapi.Config, error) {
	c, err := clientcmd.Load(admin)
	if err != nil {
		return nil, fmt.Errorf("read admin kubeconfig: %w", err)
	}
	context := c.Contexts[c.CurrentContext]
	if context == nil || c.Clusters[context.Cluster] == nil || c.AuthInfos[context.AuthInfo] == nil {
		return nil, fmt.Errorf("admin kubeconfig has no complete context %q", c.CurrentContext)
	}
	ours := clientcmdapi.NewConfig()
	ours.Clusters[entry], ours.AuthInfos[entry] = c.Clusters[context.Cluster], c.AuthInfos[context.AuthInfo]
	return ours, nil
}

// unwritable gives cause a hint where rights are what lacks.
func unwritable(u User, path string, cause error) error {
	if !errors.Is(cause, fs.ErrPermission) {
		return fmt.Errorf("change %s: %w", path, cause)
	}
	return &fault.Error{
		Code:    "kubeconfig-unwritable",
		Summary: fmt.Sprintf("the context boxyard cannot be changed in %s with the rights of user %d", path, u.UID),
		Hint:    fmt.Sprintf("sudo chown -R %d:%d %s", u.UID, u.GID, filepath.Join(u.Home, ".kube")),
		Cause:   cause,
	}
}
