package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/flagz"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	rbacrest "k8s.io/kubernetes/pkg/registry/rbac/rest"
	schedulingrest "k8s.io/kubernetes/pkg/registry/scheduling/rest"
	"sigs.k8s.io/yaml"

	"github.com/boxyard/boxyard/cluster/internal/config"
	"github.com/boxyard/boxyard/cluster/internal/queues"
	"github.com/boxyard/boxyard/cluster/internal/tlsconfig"
	"github.com/boxyard/boxyard/cluster/metrics"
)

// apiserverArgs is the command line of kube-apiserver. What is not named here is upstream's default.
func apiserverArgs(c config.Cluster) []string {
	args := []string{
		"--admission-control-config-file=" + admissionFile(c),
		"--advertise-address=" + c.NodeIPs[0],
		"--allow-privileged=true",
		"--authentication-config=" + authenticationFile(c),
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + c.PKI("ca.crt"),
		"--enable-admission-plugins=EventRateLimit,NodeRestriction",
		"--enable-bootstrap-token-auth=true",
		"--encryption-provider-config=" + c.EncryptionConfig,
		"--endpoint-reconciler-type=lease",
		"--etcd-cafile=" + c.PKI("etcd/ca.crt"),
		"--etcd-certfile=" + c.PKI("apiserver-etcd-client.crt"),
		"--etcd-keyfile=" + c.PKI("apiserver-etcd-client.key"),
		"--etcd-servers=" + etcdClientURL,
		"--kubelet-certificate-authority=" + c.PKI("ca.crt"),
		"--kubelet-client-certificate=" + c.PKI("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + c.PKI("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--profiling=false",
		"--proxy-client-cert-file=" + c.PKI("front-proxy-client.crt"),
		"--proxy-client-key-file=" + c.PKI("front-proxy-client.key"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-client-ca-file=" + c.PKI("front-proxy-ca.crt"),
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--secure-port=" + strconv.Itoa(c.APIPort),
		// Tokens live for an hour, and every client library since 2021 reads them again.
		"--service-account-extend-token-expiration=false",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.PKI("sa.pub"),
		"--service-account-signing-key-file=" + c.PKI("sa.key"),
		"--service-cluster-ip-range=" + strings.Join(c.ServiceCIDRs, ","),
		"--tls-cert-file=" + c.PKI("apiserver.crt"),
		"--tls-cipher-suites=" + strings.Join(tlsconfig.CipherSuites(), ","),
		"--tls-private-key-file=" + c.PKI("apiserver.key"),
	}
	if c.Fast(config.FastWatchCaches) {
		args = append(args, "--watch-cache-sizes="+watchCacheSizes())
	}
	return append(args, auditArgs(c)...)
}

// Hooks are what RunAPIServer calls.
type Hooks struct {
	// Configured is called before it answers, with the identity that the server itself uses, which may do everything.
	Configured func(loopback *rest.Config)
	// Writes is called before a request is served that is to change something: not for leases, which are renewed while
	// nothing else happens. It must return at once.
	Writes func()
}

// RunAPIServer serves the Kubernetes API on loopback and on the node's addresses, and the resource metrics with
// it. It gets itself ready while etcd starts. It returns when the server has ended; a cancelled context ends it gracefully.
func RunAPIServer(ctx context.Context, c config.Cluster, etcd *Etcd, usage *metrics.Metrics, hooks Hooks) error {
	for _, write := range []func(config.Cluster) error{writeAuthentication, writeAdmission, writeAuditPolicy} {
		if err := write(c); err != nil {
			return err
		}
	}
	s := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	flags.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	named := s.Flags()
	for _, set := range named.FlagSets {
		flags.AddFlagSet(set)
	}
	s.Flagz = flagz.NamedFlagSetsReader{FlagSets: named} // the upstream command sets it, not the options
	if err := flags.Parse(apiserverArgs(c)); err != nil {
		return fmt.Errorf("kube-apiserver arguments: %w", err)
	}
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(s.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	addresses := append([]string{"127.0.0.1"}, c.NodeIPs...)
	secure, err := listen(ctx, addresses, c.APIPort)
	if err != nil {
		return err
	}
	defer func() { _ = secure.Close() }()
	s.SecureServing.Listener = secure

	if c.Fast(config.FastStorage) {
		storeDirectly(ctx, etcd)
	}
	completed, err := s.Complete(ctx)
	if err != nil {
		return fmt.Errorf("complete the configuration of kube-apiserver: %w", err)
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return utilerrors.NewAggregate(errs)
	}
	return serveAPI(ctx, c, completed, etcd, usage, hooks)
}

// shutdownLimit is how long connections may take to end. Upstream's minute is for load balancers; the watches of
// our own parts, which end with the process, would use all of it.
const shutdownLimit = 500 * time.Millisecond

// serveAPI is app.Run of kube-apiserver (cmd/kube-apiserver/app/server.go) with six differences. Etcd is waited
// for when the configuration is there, which takes as long as etcd's start. Two hooks are
// left to the package bootstrap: those for the roles and for the system priority classes wait for a second
// before they do anything and hold back readiness that long (pkg/registry/rbac/rest/storage_rbac.go and
// pkg/registry/scheduling/rest/storage_scheduling.go). The resource metrics are served too: by the last server of
// the chain, which is the aggregator, before it would look for another server behind an APIService. That server,
// which every request reaches first, also tells of writes. The OpenAPI documents are written when somebody asks for
// them. And the end is quicker.
func serveAPI(ctx context.Context, c config.Cluster, opts options.CompletedOptions, etcd *Etcd, usage *metrics.Metrics, hooks Hooks) error {
	name, err := cache.NewInformerName("kube-apiserver")
	if err != nil {
		return err
	}
	opts.InformerName = name
	apiConfig, err := app.NewConfig(opts)
	if err != nil {
		return fmt.Errorf("configure kube-apiserver: %w", err)
	}
	generic := apiConfig.KubeAPIs.ControlPlane.Generic
	generic.DisabledPostStartHooks.Insert(rbacrest.PostStartHookName, schedulingrest.PostStartHookName)
	metrics.Describe(generic)
	tellOfWrites(&apiConfig.Aggregator.GenericConfig.Config, hooks.Writes)
	describe := func(*genericapiserver.GenericAPIServer) error { return nil }
	if c.Fast(config.FastOpenAPI) {
		describe = describeWhenAsked(generic)
	}
	if _, err := etcd.wait(ctx); err != nil {
		return err
	}
	completed, err := apiConfig.Complete()
	if err != nil {
		return err
	}
	server, err := app.CreateServerChain(completed)
	if err != nil {
		return fmt.Errorf("create kube-apiserver: %w", err)
	}
	if err := describe(server.GenericAPIServer); err != nil {
		return err
	}
	if err := usage.Install(server.GenericAPIServer, apiConfig.KubeAPIs.ControlPlane.VersionedInformers); err != nil {
		return err
	}
	server.GenericAPIServer.ShutdownTimeout = shutdownLimit
	prepared, err := server.PrepareRun()
	if err != nil {
		return err
	}
	loopback := rest.CopyConfig(generic.LoopbackClientConfig)
	loopback.ContentType = runtime.ContentTypeProtobuf
	hooks.Configured(loopback)
	if err := prepared.Run(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	return nil
}

// writeAuthentication lets those who give no credentials see that the API is alive and nothing else.
// Upstream's default lets them make any request, for RBAC to refuse.
func writeAuthentication(c config.Cluster) error {
	data, err := yaml.Marshal(authentication())
	if err != nil {
		return err
	}
	if err := os.WriteFile(authenticationFile(c), data, 0o600); err != nil {
		return fmt.Errorf("write the authentication configuration: %w", err)
	}
	return nil
}

func authenticationFile(c config.Cluster) string { return c.Run("authentication.yaml") }

func authentication() *apiserverv1.AuthenticationConfiguration {
	return &apiserverv1.AuthenticationConfiguration{
		TypeMeta: metav1.TypeMeta{Kind: "AuthenticationConfiguration", APIVersion: apiserverv1.SchemeGroupVersion.String()},
		JWT:      []apiserverv1.JWTAuthenticator{},
		Anonymous: &apiserverv1.AnonymousAuthConfig{Enabled: true, Conditions: []apiserverv1.AnonymousAuthCondition{
			{Path: "/livez"}, {Path: "/readyz"}, {Path: "/healthz"},
		}},
	}
}

// Setup is called once, before any part starts: the parts share this process's globals.
func Setup(c config.Cluster) error {
	// The second part that applies the same logging configuration would be refused otherwise.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	// API warnings that our own clients cause are of no use to a user.
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	if !c.Fast(config.FastQueues) {
		return nil
	}
	if err := queues.WithoutMetrics(); err != nil {
		slog.Warn("an idle cluster takes more of the processor than it should", "error", err)
	}
	return nil
}
