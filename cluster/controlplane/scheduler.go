package controlplane

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/tools/cache"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/tlsconfig"
)

// schedulerArgs is the command line of kube-scheduler.
func schedulerArgs(c config.Cluster) []string {
	kubeconfig := c.PKI("scheduler.kubeconfig")
	return []string{
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--client-ca-file=" + c.PKI("ca.crt"),
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--profiling=false",
		"--requestheader-client-ca-file=" + c.PKI("front-proxy-ca.crt"),
		"--tls-cipher-suites=" + strings.Join(tlsconfig.CipherSuites(), ","),
		// In one process with kube-apiserver, so the same serving certificate; making one of its own
		// at each start would take a good part of a second.
		"--tls-cert-file=" + c.PKI("apiserver.crt"),
		"--tls-private-key-file=" + c.PKI("apiserver.key"),
	}
}

// RunScheduler returns when the scheduler has ended. The API must answer before it starts.
func RunScheduler(ctx context.Context, c config.Cluster) error {
	s := options.NewOptions()
	flags := pflag.NewFlagSet("kube-scheduler", pflag.ContinueOnError)
	flags.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	for _, set := range s.Flags.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(schedulerArgs(c)); err != nil {
		return fmt.Errorf("kube-scheduler arguments: %w", err)
	}
	if err := s.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(s.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	name, err := cache.NewInformerName("kube-scheduler")
	if err != nil {
		return err
	}
	s.InformerName = name
	completed, scheduler, err := app.Setup(ctx, s)
	if err != nil {
		return fmt.Errorf("configure kube-scheduler: %w", err)
	}
	if err := app.Run(ctx, completed, scheduler); err != nil && ctx.Err() == nil {
		return fmt.Errorf("kube-scheduler: %w", err)
	}
	return nil
}
