//go:build integration

package integration

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// checks are the recommendations that a machine can look at: nil says that one is met.
func (in inspection) checks() map[string]func() error {
	const pki, run = "/var/lib/boxyard/pki", "/run/boxyard/cluster"
	all := map[string]func() error{
		"1.1.9":  in.mode("600", "/run/boxyard/containerd/cni", "-type f"),
		"1.1.10": in.owner("/run/boxyard/containerd/cni", ""),
		"1.1.11": in.mode("700", "/var/lib/boxyard/cluster/etcd", "-maxdepth 0"),
		"1.1.12": func() error {
			if owner := in.sh("stat -c %U /var/lib/boxyard/cluster/etcd"); owner != "etcd" {
				return errors.New("its owner is " + owner)
			}
			return nil
		},
		"1.1.15": in.mode("600", pki+"/scheduler.kubeconfig", ""),
		"1.1.16": in.owner(pki+"/scheduler.kubeconfig", ""),
		"1.1.17": in.mode("600", pki+"/controller-manager.kubeconfig", ""),
		"1.1.18": in.owner(pki+"/controller-manager.kubeconfig", ""),
		"1.1.19": in.owner(pki, ""),
		"1.1.20": in.mode("644", pki, "-name '*.crt'"),
		"1.1.21": in.mode("600", pki, "-name '*.key'"),
		"2.1":    in.etcdRefuses("127.0.0.1:2379"),
		"2.2":    in.etcdRefuses("127.0.0.1:2379"),
		"2.3":    in.etcdRefuses("127.0.0.1:2379"),
		"2.4":    in.etcdRefuses("127.0.0.1:2380"),
		"2.5":    in.etcdRefuses("127.0.0.1:2380"),
		"2.6":    in.etcdRefuses("127.0.0.1:2380"),
		"2.7": func() error {
			if in.sh("cmp -s "+pki+"/ca.crt "+pki+"/etcd/ca.crt && echo same || true") == "same" {
				return errors.New("etcd's CA is the cluster's")
			}
			return nil
		},
		"3.1.2": in.noObjects("secrets", "type=kubernetes.io/service-account-token"),
		"3.1.3": in.noObjects("secrets", "type=bootstrap.kubernetes.io/token"),
		// The policy itself is checked by the audit log's own test.
		"3.2.2":  func() error { return nil },
		"4.1.2":  func() error { return nil }, // the unit is there after `boxyard install` only, which the VM test looks at
		"4.1.3":  in.mode("600", pki+"/kube-proxy.kubeconfig", ""),
		"4.1.4":  in.owner(pki+"/kube-proxy.kubeconfig", ""),
		"4.1.5":  in.mode("600", pki+"/kubelet-client.kubeconfig", ""),
		"4.1.6":  in.owner(pki+"/kubelet-client.kubeconfig", ""),
		"4.1.7":  in.mode("644", pki+"/ca.crt", ""),
		"4.1.8":  in.owner(pki+"/ca.crt", ""),
		"4.1.9":  in.mode("600", run, "-name '*.yaml' -o -name '*.json'"),
		"4.1.10": in.owner(run, ""),
		"4.3.1": func() error {
			if out := in.sh("ss -H -ltn 'sport = :10249'"); !strings.Contains(out, "127.0.0.1:10249") || strings.Count(out, "10249") != 1 {
				return errors.New("it listens on " + out)
			}
			return nil
		},
	}
	maps.Copy(all, in.apiChecks())
	maps.Copy(all, in.kubeletChecks())
	return all
}

func (in inspection) apiChecks() map[string]func() error {
	api, manager, scheduler := in.api, in.manager, in.scheduler
	strong := func(suites string) error {
		for suite := range strings.SplitSeq(strings.Trim(suites, "[]"), ",") {
			if !strings.HasPrefix(suite, "TLS_ECDHE_") || strings.Contains(suite, "_CBC_") || strings.Contains(suite, "RC4") {
				return fmt.Errorf("%q among %s", suite, suites)
			}
		}
		return nil
	}
	return map[string]func() error{
		"1.2.1":  has(api, "anonymous-auth", "false"),
		"1.2.2":  has(api, "token-auth-file", ""),
		"1.2.3":  lists(api, "enable-admission-plugins", "DenyServiceExternalIPs"),
		"1.2.4":  set(api, "kubelet-client-certificate", "kubelet-client-key"),
		"1.2.5":  set(api, "kubelet-certificate-authority"),
		"1.2.6":  not(lists(api, "authorization-mode", "AlwaysAllow")),
		"1.2.7":  lists(api, "authorization-mode", "Node"),
		"1.2.8":  lists(api, "authorization-mode", "RBAC"),
		"1.2.9":  lists(api, "enable-admission-plugins", "EventRateLimit"),
		"1.2.10": not(lists(api, "enable-admission-plugins", "AlwaysAdmit")),
		"1.2.11": lists(api, "enable-admission-plugins", "AlwaysPullImages"),
		"1.2.12": not(lists(api, "disable-admission-plugins", "ServiceAccount")),
		"1.2.13": not(lists(api, "disable-admission-plugins", "NamespaceLifecycle")),
		"1.2.14": lists(api, "enable-admission-plugins", "NodeRestriction"),
		"1.2.15": has(api, "profiling", "false"),
		"1.2.16": set(api, "audit-log-path"),
		"1.2.20": has(api, "request-timeout", "1m0s"),
		"1.2.21": has(api, "service-account-lookup", "true"),
		"1.2.22": not(has(api, "service-account-key-file", "[]")),
		"1.2.23": set(api, "etcd-certfile", "etcd-keyfile"),
		"1.2.24": set(api, "tls-cert-file", "tls-private-key-file"),
		"1.2.25": set(api, "client-ca-file"),
		"1.2.26": set(api, "etcd-cafile"),
		"1.2.27": set(api, "encryption-provider-config"),
		"1.2.28": func() error {
			if in.sh("grep -A1 providers: "+api["encryption-provider-config"]+" | grep -c secretbox || true") != "1" {
				return errors.New("the first provider is another one")
			}
			return nil
		},
		"1.2.29": func() error { return strong(api["tls-cipher-suites"]) },
		"1.2.30": has(api, "service-account-extend-token-expiration", "false"),
		"1.3.1":  has(manager, "terminated-pod-gc-threshold", "1000"),
		"1.3.2":  has(manager, "profiling", "false"),
		"1.3.3":  has(manager, "use-service-account-credentials", "true"),
		"1.3.4":  set(manager, "service-account-private-key-file"),
		"1.3.5":  set(manager, "root-ca-file"),
		"1.3.6":  not(lists(manager, "feature-gates", "RotateKubeletServerCertificate=false")),
		"1.3.7":  has(manager, "bind-address", "127.0.0.1"),
		"1.4.1":  has(scheduler, "profiling", "false"),
		"1.4.2":  has(scheduler, "bind-address", "127.0.0.1"),
	}
}

func (in inspection) kubeletChecks() map[string]func() error {
	is := func(want any, path ...string) func() error {
		return func() error {
			var value any = in.kubelet
			for _, name := range path {
				group, _ := value.(map[string]any)
				value = group[name]
			}
			if show(value) != show(want) {
				return fmt.Errorf("%s is %s", strings.Join(path, "."), show(value))
			}
			return nil
		}
	}
	return map[string]func() error{
		"4.2.1":  is(false, "authentication", "anonymous", "enabled"),
		"4.2.2":  is("Webhook", "authorization", "mode"),
		"4.2.3":  is("/var/lib/boxyard/pki/ca.crt", "authentication", "x509", "clientCAFile"),
		"4.2.4":  is(nil, "readOnlyPort"),
		"4.2.5":  is("4h0m0s", "streamingConnectionIdleTimeout"),
		"4.2.6":  is(true, "makeIPTablesUtilChains"),
		"4.2.8":  is(50, "eventRecordQPS"),
		"4.2.9":  is("/var/lib/boxyard/pki/kubelet.crt", "tlsCertFile"),
		"4.2.10": is(true, "rotateCertificates"),
		"4.2.11": not(is(false, "featureGates", "RotateKubeletServerCertificate")),
		"4.2.12": func() error {
			if suites := show(in.kubelet["tlsCipherSuites"]); suites == "null" || strings.Contains(suites, "_CBC_") {
				return errors.New(suites)
			}
			return nil
		},
		"4.2.13": is(8192, "podPidsLimit"),
		"4.2.14": is(true, "seccompDefault"),
	}
}

func has(flags map[string]string, name, want string) func() error {
	return func() error {
		if got := flags[name]; got != want {
			return fmt.Errorf("--%s=%s", name, got)
		}
		return nil
	}
}

func set(flags map[string]string, names ...string) func() error {
	return func() error {
		for _, name := range names {
			if flags[name] == "" {
				return fmt.Errorf("--%s is not set", name)
			}
		}
		return nil
	}
}

func lists(flags map[string]string, name, item string) func() error {
	return func() error {
		if !slices.Contains(strings.Split(strings.Trim(flags[name], "[]"), ","), item) {
			return fmt.Errorf("--%s=%s", name, flags[name])
		}
		return nil
	}
}

func not(check func() error) func() error {
	return func() error {
		if check() == nil {
			return errors.New("it is set")
		}
		return nil
	}
}

// mode wants no file below path, of those that find's test selects, to allow more than at most.
func (in inspection) mode(most, path, test string) func() error {
	return func() error {
		if in.sh(`find `+path+` \( `+cmp.Or(test, "-true")+` \)`) == "" {
			return fmt.Errorf("nothing below %s: the test looks in the wrong place", path)
		}
		forbidden := map[string]string{"600": "/177", "644": "/133", "700": "/077"}[most]
		if more := in.sh(`find ` + path + ` \( ` + cmp.Or(test, "-true") + ` \) -perm ` + forbidden); more != "" {
			return errors.New(in.sh("stat -c '%a %n' " + strings.ReplaceAll(more, "\n", " ")))
		}
		return nil
	}
}

func (in inspection) owner(path, test string) func() error {
	return func() error {
		if others := in.sh("find " + path + " " + test + ` \( -not -user root -o -not -group root \)`); others != "" {
			return errors.New(others)
		}
		return nil
	}
}

// etcdRefuses who has no certificate of its CA.
func (in inspection) etcdRefuses(address string) func() error {
	return func() error {
		if err := in.handshake(address, &tls.Config{InsecureSkipVerify: true}); err == nil { //nolint:gosec // it is the instance's loopback
			return errors.New(address + " answers without a client certificate")
		}
		return nil
	}
}

func (in inspection) noObjects(resource, selector string) func() error {
	return func() error {
		if out := in.kubectl("get", resource, "-A", "--field-selector="+selector, "-o", "name"); out != "" {
			return errors.New(out)
		}
		return nil
	}
}
