package kube

import (
	"os"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

const (
	// systemConfig is the administrator's kubeconfig that the daemon writes.
	systemConfig = "/etc/boxyard/kubeconfig"
	// boxyardContext is the context that the daemon adds to the user's own kubeconfig.
	boxyardContext = "boxyard"
)

// selection is the cluster to talk to. The zero value leaves it to the user's own settings.
type selection struct {
	kubeconfig string // a value for KUBECONFIG
	context    string // a context of the user's kubeconfig
}

// facts are what the choice of a cluster depends on.
type facts struct {
	args           []string // of the client
	kubeconfig     string   // the environment's KUBECONFIG
	viaBoxyard     bool     // called as `boxyard kubectl` or `boxyard helm`
	userConfig     bool     // there is a ~/.kube/config
	systemReadable bool     // systemConfig can be read
}

// choose picks the cluster. `boxyard kubectl` means Boxyard's also where the
// current context is another; a plain kubectl means Boxyard's only where there is no other.
func choose(f facts) selection {
	if f.kubeconfig != "" || userChose(f.args) {
		return selection{}
	}
	if f.viaBoxyard {
		if f.systemReadable {
			return selection{kubeconfig: systemConfig}
		}
		if f.userConfig {
			return selection{context: boxyardContext}
		}
		return selection{}
	}
	if !f.userConfig && f.systemReadable {
		return selection{kubeconfig: systemConfig}
	}
	return selection{}
}

// userChose says whether a flag before "--" names a cluster.
func userChose(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		switch name {
		case "--kubeconfig", "--context", "--kube-context", "--server", "-s", "--kube-apiserver":
			return true
		}
		return false
	})
}

// selectCluster looks at this process and applies the choice, but for the context, which each client takes its own way.
func selectCluster(args []string) (selection, error) {
	s := choose(facts{
		args:           args,
		kubeconfig:     os.Getenv(clientcmd.RecommendedConfigPathEnvVar),
		viaBoxyard:     os.Getenv("BOXYARD") == "1",
		userConfig:     readable(clientcmd.RecommendedHomeFile),
		systemReadable: readable(systemConfig),
	})
	if s.kubeconfig == "" {
		return s, nil
	}
	return s, os.Setenv(clientcmd.RecommendedConfigPathEnvVar, s.kubeconfig)
}

func readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}
