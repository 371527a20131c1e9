package pki

import (
	"fmt"
	"net"
	"os"
	"strconv"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// entry is the name of the cluster, the user and the context in every kubeconfig made here.
const entry = "boxyard"

// AdminKubeconfig is a self-contained kubeconfig of the cluster's administrator: cluster, user and
// context are all called boxyard. Make it again when "admin" was renewed.
func AdminKubeconfig(p Params) ([]byte, error) {
	cluster, user := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo()
	for file, into := range map[string]*[]byte{
		clusterCA + ".crt": &cluster.CertificateAuthorityData,
		"admin.crt":        &user.ClientCertificateData,
		"admin.key":        &user.ClientKeyData,
	} {
		data, err := os.ReadFile(p.path(file))
		if err != nil {
			return nil, fmt.Errorf("admin kubeconfig: %w", err)
		}
		*into = data
	}
	return kubeconfig(p, cluster, user)
}

// ensureKubeconfigs writes the kubeconfigs of our own processes. They name the certificate files, so
// that client-go picks up a renewed one.
func ensureKubeconfigs(p Params) error {
	for _, name := range kubeconfigs() {
		cluster, user := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo()
		cluster.CertificateAuthority = p.path(clusterCA + ".crt")
		user.ClientCertificate = p.path(name + ".crt")
		user.ClientKey = p.path(name + ".key")
		data, err := kubeconfig(p, cluster, user)
		if err != nil {
			return err
		}
		if err := writeChanged(p.path(name+".kubeconfig"), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func kubeconfig(p Params, cluster *clientcmdapi.Cluster, user *clientcmdapi.AuthInfo) ([]byte, error) {
	cluster.Server = "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(p.APIPort))
	context := clientcmdapi.NewContext()
	context.Cluster, context.AuthInfo = entry, entry
	c := clientcmdapi.NewConfig()
	c.Clusters[entry], c.AuthInfos[entry], c.Contexts[entry] = cluster, user, context
	c.CurrentContext = entry
	data, err := clientcmd.Write(*c)
	if err != nil {
		return nil, fmt.Errorf("write kubeconfig: %w", err)
	}
	return data, nil
}
