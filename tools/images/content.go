package main

import (
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/boxyard/boxyard/internal/ociarchive"
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func pauseConfig() ocispec.ImageConfig {
	return ocispec.ImageConfig{User: "65535:65535", Env: []string{searchPath}, Entrypoint: []string{"/pause"}}
}

func pauseFiles(program string) ([]ociarchive.Entry, error) {
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	return []ociarchive.Entry{{Name: "pause", Mode: 0o755, Content: data}}, nil
}

func baseConfig() ocispec.ImageConfig {
	return ocispec.ImageConfig{Env: []string{searchPath}, Cmd: []string{"sh"}}
}
