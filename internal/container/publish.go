package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// The files that dockerd keeps about each container, in its data directory (moby
// daemon/container/container.go: toDisk, writeHostConfig). They are there before it tells of the container.
const (
	containersDir  = "containers"
	hostConfigFile = "hostconfig.json"
	configFile     = "config.v2.json"
)

// Publishers gives the containers that want this TCP port of loopback when they run, the name by the ID. It
// reads dockerd's data directory: dockerd may be away, and it answers questions about a container that it is
// starting only when that has its port, or has failed for want of it.
func Publishers(dockerDir string, port int) (map[string]string, error) {
	entries, err := os.ReadDir(filepath.Join(dockerDir, containersDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the containers of dockerd: %w", err)
	}
	found := map[string]string{}
	for _, e := range entries {
		name, wants, err := Publisher(dockerDir, e.Name(), port)
		if err != nil {
			return nil, err
		}
		if wants {
			found[e.Name()] = name
		}
	}
	return found, nil
}

// Publisher is Publishers for the container with this ID. One that is gone wants nothing.
func Publisher(dockerDir, id string, port int) (name string, wants bool, err error) {
	dir := filepath.Join(dockerDir, containersDir, filepath.Base(id))
	var config container.HostConfig
	if err := readIfThere(filepath.Join(dir, hostConfigFile), &config); err != nil || !publishes(config.PortBindings, port) {
		return "", false, err
	}
	var self struct{ Name string }
	if err := readIfThere(filepath.Join(dir, configFile), &self); err != nil {
		return "", false, err
	}
	return strings.TrimPrefix(self.Name, "/"), true, nil
}

// Running says whether dockerd's record of the container with this ID says that it runs. Without a record it gives an
// error that is fs.ErrNotExist.
func Running(dockerDir, id string) (bool, error) {
	var self struct{ State struct{ Running bool } }
	err := readJSON(filepath.Join(dockerDir, containersDir, filepath.Base(id), configFile), &self)
	return self.State.Running, err
}

// readIfThere leaves into alone where there is no file: the container is being made, or removed.
func readIfThere(file string, into any) error {
	err := readJSON(file, into)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func readJSON(file string, into any) error {
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("read what dockerd keeps about a container: %w", err)
	}
	return nil
}

func publishes(bindings network.PortMap, port int) bool {
	for inside, outside := range bindings {
		if inside.Proto() != network.TCP {
			continue
		}
		for _, b := range outside {
			everywhere := !b.HostIP.IsValid() || b.HostIP.IsUnspecified() || b.HostIP.IsLoopback()
			if everywhere && b.HostPort == strconv.Itoa(port) {
				return true
			}
		}
	}
	return false
}
