package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sigs.k8s.io/yaml"
)

// APIServer is where Boxyard's Kubernetes API answers inside an instance.
const APIServer = "https://127.0.0.1:6443"

// API is the Kubernetes API for tests that ask too often for kubectl. Its methods may be called from any goroutine.
type API struct {
	client *http.Client
	server string
	token  string // instead of a certificate
}

// API is the administrator's, by the certificate in the kubeconfig.
func (in *Instance) API(ctx context.Context) (*API, error) {
	text, err := in.Kubectl(ctx, "config", "view", "--raw", "--minify", "-o", "json")
	if err != nil {
		return nil, err
	}
	return in.APIOf([]byte(text))
}

// APIOf is that of another Kubernetes inside the instance, by a kubeconfig with one cluster and one user, which has a
// certificate. The server's address must be a literal one.
func (in *Instance) APIOf(kubeconfig []byte) (*API, error) {
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     string `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Cert string `json:"client-certificate-data"`
				Key  string `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.Unmarshal(kubeconfig, &config); err != nil || len(config.Users) != 1 || len(config.Clusters) != 1 {
		return nil, fmt.Errorf("harness: a kubeconfig with one user and one cluster: %w", err)
	}
	cluster, user := config.Clusters[0].Cluster, config.Users[0].User
	ca, err1 := base64.StdEncoding.DecodeString(cluster.CA)
	cert, err2 := base64.StdEncoding.DecodeString(user.Cert)
	key, err3 := base64.StdEncoding.DecodeString(user.Key)
	pair, err4 := tls.X509KeyPair(cert, key)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, fmt.Errorf("harness: the kubeconfig's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := in.client(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}})
	return &API{client: client, server: cluster.Server}, nil
}

// WithToken is the same server for a service account, over connections of its own.
func (a *API) WithToken(in *Instance, token string) *API {
	config := a.transport().TLSClientConfig.Clone()
	config.Certificates = nil
	return &API{client: in.client(config), server: a.server, token: token}
}

func (a *API) transport() *http.Transport {
	transport, ok := a.client.Transport.(*http.Transport)
	if !ok {
		panic("harness: not our transport")
	}
	return transport
}

// client speaks HTTP/1.1: a connection for each request that is under way.
func (in *Instance) client(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: in.Dial, TLSClientConfig: config, MaxIdleConnsPerHost: 64}}
}

// Close ends idle connections.
func (a *API) Close() { a.client.CloseIdleConnections() }

// Do sends one request. The error is for those that got no whole answer; whether the server has done what was
// asked is then not known.
func (a *API) Do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	response, err := a.Open(ctx, method, path, body)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, data, err
}

// Open is Do for answers that go on, such as watches. The caller closes the body.
func (a *API) Open(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	return a.send(ctx, method, a.server+path, "application/json", body)
}

// Flags are those that a part of the control plane says it runs with, on its page /flagz.
func (a *API) Flags(ctx context.Context, server string) (map[string]string, error) {
	response, err := a.send(ctx, http.MethodGet, server+"/flagz", "application/json;v=v1beta1;g=config.k8s.io;as=Flagz", nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var page struct {
		Flags map[string]string `json:"flags"`
	}
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("harness: flags of %s: %s: %w", server, response.Status, err)
	}
	return page.Flags, nil
}

func (a *API) send(ctx context.Context, method, url, accept string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", accept)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.client.Do(request)
}
