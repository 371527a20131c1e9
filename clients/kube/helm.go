package kube

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	helmcmd "helm.sh/helm/v4/pkg/cmd"
	helmkube "helm.sh/helm/v4/pkg/kube"
)

// Helm is helm. It returns the exit code.
// It follows cmd/helm of helm.sh/helm/v4.
func Helm() int {
	selected, err := selectCluster(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return 1
	}
	args := os.Args[1:]
	if selected.context != "" && os.Getenv("HELM_KUBECONTEXT") == "" {
		// Helm reads its environment before main, so this must be a flag.
		args = slices.Concat([]string{"--kube-context=" + selected.context}, args)
		os.Args = slices.Concat(os.Args[:1], args)
	}
	// The owner of fields in managedFields, whatever this executable is called.
	helmkube.ManagedFieldsManager = "helm"
	command, err := helmcmd.NewRootCmd(os.Stdout, args, helmcmd.SetupLogging)
	if err != nil {
		slog.Warn("command failed", slog.Any("error", err))
		return 1
	}
	err = command.Execute()
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[helmcmd.CommandError](err); ok {
		return exit.ExitCode
	}
	return 1
}
