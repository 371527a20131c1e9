package dockerd

import (
	"path/filepath"
	"slices"
	"testing"

	bolt "go.etcd.io/bbolt"
)

func TestClearOrphans(t *testing.T) {
	file := filepath.Join(t.TempDir(), "local-kv.db")
	db, err := bolt.Open(file, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	const p = "docker/network/v1.0/"
	record := func(bridge string) string { return "12345678" + `{"BridgeName":"` + bridge + `"}` }
	kept := map[string]string{
		p + "network/n1/":         "12345678{}",
		p + "bridge/n1/":          record("br-n1"),
		p + "endpoint/n1/e1/":     "12345678{}",
		p + "bridge-endpoint/e1/": "12345678{}",
		p + "bridge/own/":         record("boxyard1"),
		p + "bridge/named/":       record("mine"),
		"other/bridge-endpoint/x": "",
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("libnetwork"))
		if err != nil {
			return err
		}
		for key, value := range kept {
			if err := b.Put([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		if err := b.Put([]byte(p+"bridge/n2/"), []byte(record("br-n2"))); err != nil {
			return err
		}
		return b.Put([]byte(p+"bridge-endpoint/e2/"), []byte("12345678{}"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var deleted []string
	links, err := clearOrphans(file, "boxyard1", func(name string) error {
		deleted = append(deleted, name)
		return nil
	})
	if want := []string{"br-n2"}; err != nil || !slices.Equal(links, want) || !slices.Equal(deleted, want) {
		t.Errorf("bridges deleted: %q, told %q, %v", deleted, links, err)
	}
	if db, err = bolt.Open(file, 0o600, &bolt.Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("libnetwork")).ForEach(func(key, _ []byte) error {
			if _, ok := kept[string(key)]; !ok {
				t.Errorf("%s is left", key)
			}
			delete(kept, string(key))
			return nil
		})
	})
	if err != nil || len(kept) > 0 {
		t.Errorf("gone, though whole: %v, %v", kept, err)
	}
}

func TestClearOrphansWithoutRecords(t *testing.T) {
	if _, err := clearOrphans(filepath.Join(t.TempDir(), "none"), "boxyard1", nil); err != nil {
		t.Error(err)
	}
}
