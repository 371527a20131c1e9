package dockerd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/boxyard/boxyard/internal/paths"
)

// Outside are the directories that dockerd makes outside the layout because their path is a constant of
// upstream (moby daemon/daemon_linux.go, getPluginExecRoot; BuildKit calls runc without --root). Reset
// removes them when they are empty.
func Outside() []string { return []string{"/run/docker/plugins", "/run/docker", "/run/runc"} }

// NFTTables are nft tables by family and name: those of dockerd, and what Prepare copies from them. The
// first two hold the rules of every Docker on the host that uses nftables, so reset deletes them
// only when no other dockerd runs.
func NFTTables() [][2]string {
	return [][2]string{{"ip", dockerTable}, {"ip6", dockerTable}, {"ip", holdTable}, {"ip6", holdTable}}
}

// Links names the network interfaces that dockerd has made on the host for its networks: bridges,
// and the sub-interfaces of macvlan and ipvlan networks. They outlive dockerd, so reset removes them.
// It reads dockerd's own records, because a bridge's name says nothing of which Docker made it;
// dockerd must have ended. The default network's bridge, which is made by the component network, is among them.
func Links(l paths.Layout) ([]string, error) {
	file := filepath.Join(l.DataOf("docker"), "network", "files", "local-kv.db")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true, Timeout: 3 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("open Docker's networks: %w", err)
	}
	defer db.Close()
	var links []string
	err = db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("libnetwork"))
		if bucket == nil {
			return nil
		}
		return bucket.ForEach(func(key, value []byte) error {
			link, err := linkOf(string(key), value)
			if link != "" {
				links = append(links, link)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read Docker's networks: %w", err)
	}
	return links, nil
}

// linkOf reads one record of libnetwork's store: the value is JSON after eight bytes of index
// (moby daemon/libnetwork/internal/kvstore/boltdb, drivers/*/..._store.go).
func linkOf(key string, value []byte) (string, error) {
	const prefix = "docker/network/v1.0/"
	driver, _, ok := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	if !ok || !strings.HasPrefix(key, prefix) || len(value) < 8 {
		return "", nil
	}
	switch driver {
	case "bridge", "macvlan", "ipvlan":
	default:
		return "", nil
	}
	var network struct {
		BridgeName      string
		Parent          string
		CreatedSubIface bool
	}
	if err := json.Unmarshal(value[8:], &network); err != nil {
		return "", fmt.Errorf("record %s: %w", key, err)
	}
	if network.CreatedSubIface {
		return network.Parent, nil
	}
	return network.BridgeName, nil
}
