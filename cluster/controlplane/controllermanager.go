package controlplane

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/tlsconfig"
)

// controllerManagerArgs is the command line of kube-controller-manager.
func controllerManagerArgs(c config.Cluster) []string {
	kubeconfig := c.PKI("controller-manager.kubeconfig")
	args := []string{
		"--allocate-node-cidrs=true",
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--client-ca-file=" + c.PKI("ca.crt"),
		"--cluster-cidr=" + strings.Join(c.PodCIDRs, ","),
		"--cluster-name=boxyard",
		"--cluster-signing-cert-file=" + c.PKI("ca.crt"),
		"--cluster-signing-key-file=" + c.PKI("ca.key"),
		"--controllers=*,bootstrapsigner,tokencleaner",
		// Upstream's 20 requests a second make the controllers of a fresh cluster start over seven seconds.
		"--kube-api-burst=300",
		"--kube-api-qps=150",
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--profiling=false",
		"--requestheader-client-ca-file=" + c.PKI("front-proxy-ca.crt"),
		// Upstream's 12500 are for a thousand nodes; here they would only fill the API's memory.
		"--terminated-pod-gc-threshold=1000",
		"--tls-cipher-suites=" + strings.Join(tlsconfig.CipherSuites(), ","),
		// In one process with kube-apiserver, so the same serving certificate; making one of its own
		// at each start would take a good part of a second.
		"--tls-cert-file=" + c.PKI("apiserver.crt"),
		"--tls-private-key-file=" + c.PKI("apiserver.key"),
		"--root-ca-file=" + c.PKI("ca.crt"),
		"--service-account-private-key-file=" + c.PKI("sa.key"),
		"--service-cluster-ip-range=" + strings.Join(c.ServiceCIDRs, ","),
		"--use-service-account-credentials=true",
		"--flex-volume-plugin-dir=" + c.DataDir + "/volume-plugins",
	}
	if len(c.PodCIDRs) == 1 {
		return append(args, "--node-cidr-mask-size="+strconv.Itoa(c.NodeCIDRMaskSizes[0]))
	}
	// With dual stack upstream wants one flag for each family and refuses the common one.
	for i, cidr := range c.PodCIDRs {
		family := "ipv4"
		if strings.Contains(cidr, ":") {
			family = "ipv6"
		}
		args = append(args, fmt.Sprintf("--node-cidr-mask-size-%s=%d", family, c.NodeCIDRMaskSizes[i]))
	}
	return args
}

// RunControllerManager returns when the controllers have ended. The API must answer before it starts.
func RunControllerManager(ctx context.Context, c config.Cluster) error {
	s, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	named := s.Flags(app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases())
	s.ParsedFlags = &named
	flags := pflag.NewFlagSet("kube-controller-manager", pflag.ContinueOnError)
	flags.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	for _, set := range named.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(controllerManagerArgs(c)); err != nil {
		return fmt.Errorf("kube-controller-manager arguments: %w", err)
	}
	if err := s.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(s.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	cfg, err := s.Config(ctx, app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases())
	if err != nil {
		return fmt.Errorf("configure kube-controller-manager: %w", err)
	}
	if err := app.Run(ctx, cfg.Complete()); err != nil {
		return fmt.Errorf("kube-controller-manager: %w", err)
	}
	return nil
}
