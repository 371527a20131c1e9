// Package tlsconfig is how our servers speak TLS below version 1.3, whose ciphers are fixed.
package tlsconfig

import "crypto/tls"

// CipherSuites are those of TLS 1.2 with forward secrecy and authenticated encryption, by their IANA names.
// Go's own default has CBC modes too.
func CipherSuites() []string {
	ids := []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = tls.CipherSuiteName(id)
	}
	return names
}
