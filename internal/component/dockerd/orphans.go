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
)

const (
	storeBucket = "libnetwork"
	storePrefix = "docker/network/v1.0/"
)

// clearOrphans removes records of the bridge driver that libnetwork has no record of. The driver writes first
// (moby daemon/libnetwork/network.go, createEndpoint), so a kill between the two leaves its half. With a network
// that was being made goes its bridge, by deleteLink; it returns the names of those. An endpoint is worse: dockerd
// restores the rules of its address, gives the address to another, and that one's start fails with "rule exists",
// until somebody deletes the record. No dockerd may run. The records of the bridge that the component network makes
// are not touched.
func clearOrphans(file, ownBridge string, deleteLink func(name string) error) ([]string, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	db, err := bolt.Open(file, 0o600, &bolt.Options{Timeout: 3 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("open Docker's networks: %w", err)
	}
	var links []string
	err = db.Update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte(storeBucket))
		if bucket == nil {
			return nil
		}
		found, err := orphans(bucket, ownBridge)
		if err != nil {
			return err
		}
		for key, link := range found {
			if link != "" {
				if err := deleteLink(link); err != nil {
					return fmt.Errorf("delete the bridge %s: %w", link, err)
				}
				links = append(links, link)
			}
			if err := bucket.Delete([]byte(key)); err != nil {
				return err
			}
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return links, fmt.Errorf("clear Docker's networks of halves: %w", err)
	}
	return links, nil
}

// orphans are keys, with the interface that belongs to each, or "".
func orphans(bucket *bolt.Bucket, ownBridge string) (map[string]string, error) {
	whole := map[string]bool{} // "endpoint/ID" and "network/ID" of libnetwork's own records
	halves := map[string]string{}
	links := map[string]string{}
	err := bucket.ForEach(func(k, value []byte) error {
		key := string(k)
		parts := strings.Split(strings.Trim(strings.TrimPrefix(key, storePrefix), "/"), "/")
		switch {
		case !strings.HasPrefix(key, storePrefix):
		case parts[0] == "endpoint" && len(parts) == 3, parts[0] == "network" && len(parts) == 2:
			whole[parts[0]+"/"+parts[len(parts)-1]] = true
		case parts[0] == "bridge-endpoint" && len(parts) == 2:
			halves[key] = "endpoint/" + parts[1]
		case parts[0] == "bridge" && len(parts) == 2 && len(value) > 8:
			var network struct{ BridgeName string }
			if err := json.Unmarshal(value[8:], &network); err != nil {
				return fmt.Errorf("record %s: %w", key, err)
			}
			// A bridge that the user made and named is not dockerd's to delete.
			if strings.HasPrefix(network.BridgeName, "br-") && network.BridgeName != ownBridge {
				halves[key], links[key] = "network/"+parts[1], network.BridgeName
			}
		}
		return nil
	})
	found := map[string]string{}
	for key, half := range halves {
		if !whole[half] {
			found[key] = links[key]
		}
	}
	return found, err
}

func networksFile(o Options) string {
	return filepath.Join(o.Layout.DataOf("docker"), "network", "files", "local-kv.db")
}
