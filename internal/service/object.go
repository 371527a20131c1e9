package service

import (
	"slices"
	"strings"
)

// The fields of the API's objects that are looked at.
type (
	object struct {
		Metadata struct {
			Name            string `json:"name"`
			Namespace       string `json:"namespace"`
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
		Spec   spec   `json:"spec"`
		Status status `json:"status"`
	}
	spec struct {
		Type         string   `json:"type"`
		ClusterIP    string   `json:"clusterIP"`
		ClusterIPs   []string `json:"clusterIPs"`
		ExternalName string   `json:"externalName"`
		Ports        []port   `json:"ports"`
	}
	status struct {
		LoadBalancer struct {
			Ingress []struct {
				IP       string `json:"ip"`
				Hostname string `json:"hostname"`
			} `json:"ingress"`
		} `json:"loadBalancer"`
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	}
	port struct {
		Name        string `json:"name"`
		Protocol    string `json:"protocol"`
		AppProtocol string `json:"appProtocol"`
		Port        int    `json:"port"`
		NodePort    int    `json:"nodePort"`
	}
	slice struct {
		Endpoints []struct {
			Addresses  []string `json:"addresses"`
			Conditions struct {
				Ready *bool `json:"ready"`
			} `json:"conditions"`
		} `json:"endpoints"`
		Ports []port `json:"ports"`
	}
)

// http is the port that people mean by the Service's name: the one that says by its appProtocol or its
// name that it speaks HTTP, else 80, else 8080, else the first that is not TLS, else the first.
func (s spec) http() (port, bool) {
	var tcp []port
	for _, p := range s.Ports {
		if p.Protocol == "" || p.Protocol == "TCP" {
			tcp = append(tcp, p)
		}
	}
	for _, match := range []func(port) bool{
		port.saysHTTP,
		func(p port) bool { return p.Port == 80 },
		func(p port) bool { return p.Port == 8080 },
		func(p port) bool { return !p.tls() },
		func(port) bool { return true },
	} {
		if i := slices.IndexFunc(tcp, match); i >= 0 {
			return tcp[i], true
		}
	}
	return port{}, false
}

// protocol is what the port says of itself: its appProtocol, else the beginning of its name, as service
// meshes read it ("http-metrics").
func (p port) protocol() string {
	if p.AppProtocol != "" {
		return strings.TrimPrefix(strings.ToLower(p.AppProtocol), "kubernetes.io/")
	}
	said, _, _ := strings.Cut(p.Name, "-")
	return said
}

func (p port) saysHTTP() bool {
	return slices.Contains([]string{"http", "http2", "h2c", "ws", "web"}, p.protocol())
}

// tls guesses as browsers and meshes do: by what the port says, else by its number.
func (p port) tls() bool {
	said := p.protocol()
	return said == "https" || said == "wss" || p.Port == 443 && !p.saysHTTP()
}

// h2c says that the port speaks HTTP/2 without TLS, and perhaps nothing else.
func (p port) h2c() bool {
	return slices.Contains([]string{"h2c", "grpc"}, p.protocol()) && !p.tls()
}
