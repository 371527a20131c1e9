package main

import (
	_ "github.com/docker/buildx/commands"
	_ "github.com/docker/cli/cli/command/commands"
	_ "github.com/docker/compose/v5/cmd/compose"
	_ "helm.sh/helm/v4/pkg/cmd"
	_ "k8s.io/kubectl/pkg/cmd"
)

func main() {}
