package pki

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/internal/atomicfile"
)

const encryptionFile = "encryption.yaml"

// encryptionConfiguration is the part of apiserver.config.k8s.io/v1 EncryptionConfiguration that is
// written here (k8s.io/apiserver/pkg/apis/apiserver/v1/types_encryption.go; importing it would bring
// the whole API server along).
type encryptionConfiguration struct {
	APIVersion string               `json:"apiVersion"`
	Kind       string               `json:"kind"`
	Resources  []encryptedResources `json:"resources"`
}

type encryptedResources struct {
	Resources []string             `json:"resources"`
	Providers []encryptionProvider `json:"providers"`
}

type encryptionProvider struct {
	Secretbox *secretbox `json:"secretbox,omitempty"`
	Identity  *struct{}  `json:"identity,omitempty"`
}

type secretbox struct {
	Keys []encryptionKey `json:"keys"`
}

type encryptionKey struct {
	Name   string `json:"name"`
	Secret string `json:"secret"` // base64 of 32 bytes
}

// ensureEncryption makes the key of Secrets at rest once. Without it the Secrets in etcd cannot be
// read, so a lost one is never replaced. An administrator may rotate keys in the file by hand.
func ensureEncryption(p Params) error {
	file := p.path(encryptionFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return createEncryption(p, file)
	}
	if err != nil {
		return fmt.Errorf("read encryption key: %w", err)
	}
	var c encryptionConfiguration
	if err := yaml.Unmarshal(data, &c); err != nil {
		return damaged(file, "is not YAML", err)
	}
	if c.Kind != "EncryptionConfiguration" || len(c.Resources) == 0 {
		return damaged(file, "is not an EncryptionConfiguration", nil)
	}
	return os.Chmod(file, 0o600)
}

func createEncryption(p Params, file string) error {
	if err := refuseLost(p, file); err != nil {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("make encryption key: %w", err)
	}
	data, err := yaml.Marshal(encryptionConfiguration{
		APIVersion: "apiserver.config.k8s.io/v1",
		Kind:       "EncryptionConfiguration",
		Resources: []encryptedResources{{
			Resources: []string{"secrets"},
			Providers: []encryptionProvider{
				{Secretbox: &secretbox{Keys: []encryptionKey{{Name: "key1", Secret: base64.StdEncoding.EncodeToString(key)}}}},
				{Identity: &struct{}{}}, // reads what was stored before a Secret was encrypted
			},
		}},
	})
	if err != nil {
		return fmt.Errorf("make encryption key: %w", err)
	}
	return atomicfile.Write(file, data, 0o600)
}

// ensureServiceAccount makes sa.key and sa.pub, in the forms that client-go's keyutil reads. Every
// token in use depends on the key; the public half is derived again whenever it differs.
func ensureServiceAccount(p Params) error {
	file := p.path("sa.key")
	key, err := readKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := refuseLost(p, file); err != nil {
			return err
		}
		if key, err = newKey(file); err != nil {
			return err
		}
	} else if err != nil {
		return damaged(file, "is not a private key", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("service account key: %w", err)
	}
	return writeChanged(p.path("sa.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644)
}

// refuseLost is an error when file is missing from a PKI that was complete before.
func refuseLost(p Params, file string) error {
	complete, err := exists(p.path(clusterCA + ".crt"))
	if err != nil {
		return fmt.Errorf("look for the cluster's CA: %w", err)
	}
	if complete {
		return damaged(file, "is missing, and what the cluster stored depends on it", nil)
	}
	return nil
}
