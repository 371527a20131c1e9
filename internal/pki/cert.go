package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"github.com/boxyard/boxyard/internal/fault"
)

// pair is a certificate and its private key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// ensureAuthority reads a CA, and makes it only where there is none. The key is written before the
// certificate, so a key alone is a creation that was cut short and is completed with that key.
func ensureAuthority(p Params, a authority) (*pair, error) {
	certFile, keyFile := p.path(a.name+".crt"), p.path(a.name+".key")
	cert, certErr := readCert(certFile)
	key, keyErr := readKey(keyFile)
	if errors.Is(certErr, fs.ErrNotExist) {
		if keyErr != nil && !errors.Is(keyErr, fs.ErrNotExist) {
			return nil, damaged(keyFile, "is not a private key", keyErr)
		}
		return createAuthority(p, a, key)
	}
	if certErr != nil {
		return nil, damaged(certFile, "is not a certificate", certErr)
	}
	if errors.Is(keyErr, fs.ErrNotExist) {
		return nil, damaged(keyFile, "is missing beside its certificate", nil)
	}
	if keyErr != nil {
		return nil, damaged(keyFile, "is not a private key", keyErr)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, damaged(keyFile, "does not belong to "+certFile, nil)
	}
	return &pair{cert, key}, checkAuthority(p, certFile, cert)
}

func checkAuthority(p Params, certFile string, cert *x509.Certificate) error {
	now := p.Clock()
	if now.Before(cert.NotBefore) {
		return &fault.Error{
			Code:    "clock-behind",
			Summary: fmt.Sprintf("the clock says %s, before the certificate authority in %s was made (%s)", now.UTC().Format(time.RFC3339), certFile, cert.NotBefore.Format(time.RFC3339)),
			Hint:    "set the clock of this machine, then: boxyard up",
		}
	}
	if now.After(cert.NotAfter) {
		return &fault.Error{
			Code:    "ca-expired",
			Summary: fmt.Sprintf("the certificate authority in %s expired on %s", certFile, cert.NotAfter.Format(time.DateOnly)),
			Hint:    "check the clock of this machine; if it is right, start over with: boxyard reset",
		}
	}
	return nil
}

func damaged(file, what string, cause error) error {
	return &fault.Error{
		Code:    "pki-damaged",
		Summary: file + " " + what,
		Hint:    fmt.Sprintf("put %s back from a backup, or start over with: boxyard reset", file),
		Cause:   cause,
	}
}

func createAuthority(p Params, a authority, key *ecdsa.PrivateKey) (*pair, error) {
	if key == nil {
		var err error
		if key, err = newKey(p.path(a.name + ".key")); err != nil {
			return nil, err
		}
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: a.commonName},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	template.NotBefore, template.NotAfter = validity(p.Clock(), p.CALife)
	cert, err := sign(p.path(a.name+".crt"), template, &pair{template, key}, key)
	if err != nil {
		return nil, err
	}
	return &pair{cert, key}, nil
}

// ensureLeaf reads a leaf and writes it anew where it has to be. due is when it has to be renewed next.
// A renewed leaf keeps its key: a reader that loads the two files apart never sees a mismatch.
func ensureLeaf(p Params, l leaf, ca *pair) (wrote bool, due time.Time, err error) {
	certFile, keyFile := p.path(l.name+".crt"), p.path(l.name+".key")
	key, err := readKey(keyFile)
	if err != nil {
		// Nothing depends on a leaf's key, so a lost one is replaced.
		if key, err = newKey(keyFile); err != nil {
			return false, time.Time{}, err
		}
	}
	cert, err := readCert(certFile)
	if err == nil && fits(cert, l, key, ca) && p.Clock().Before(renewalTime(cert, ca)) && !p.Clock().Before(cert.NotBefore) {
		return false, renewalTime(cert, ca), nil
	}
	template := &x509.Certificate{
		Subject:               l.subject,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           l.usages,
		BasicConstraintsValid: true,
		DNSNames:              l.dnsNames,
		IPAddresses:           l.ips,
	}
	template.NotBefore, template.NotAfter = validity(p.Clock(), p.LeafLife)
	if template.NotAfter.After(ca.cert.NotAfter) {
		template.NotAfter = ca.cert.NotAfter
	}
	cert, err = sign(certFile, template, ca, key)
	if err != nil {
		return false, time.Time{}, err
	}
	return true, renewalTime(cert, ca), nil
}

// fits says whether cert is the one that l asks for, apart from its age.
func fits(cert *x509.Certificate, l leaf, key *ecdsa.PrivateKey, ca *pair) bool {
	if !key.PublicKey.Equal(cert.PublicKey) || cert.CheckSignatureFrom(ca.cert) != nil {
		return false
	}
	if cert.Subject.CommonName != l.subject.CommonName || !slices.Equal(cert.Subject.Organization, l.subject.Organization) {
		return false
	}
	return slices.Equal(cert.ExtKeyUsage, l.usages) &&
		slices.Equal(cert.DNSNames, l.dnsNames) &&
		slices.EqualFunc(cert.IPAddresses, l.ips, net.IP.Equal)
}

// renewalTime is two thirds into the life of cert. A leaf that lives as long as its authority cannot
// be given more life, so it is left alone until both end.
func renewalTime(cert *x509.Certificate, ca *pair) time.Time {
	if !cert.NotAfter.Before(ca.cert.NotAfter) {
		return cert.NotAfter
	}
	return cert.NotBefore.Add(cert.NotAfter.Sub(cert.NotBefore) * 2 / 3)
}

// validity starts a little in the past, for readers whose clock is behind.
func validity(now time.Time, life time.Duration) (notBefore, notAfter time.Time) {
	return now.Add(-min(5*time.Minute, life/10)).UTC(), now.Add(life).UTC()
}

func sign(certFile string, template *x509.Certificate, ca *pair, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return cert, writePEM(certFile, "CERTIFICATE", der, 0o644)
}

func newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, writePEM(file, "EC PRIVATE KEY", der, 0o600)
}

func readCert(file string) (*x509.Certificate, error) {
	der, err := readPEM(file, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	der, err := readPEM(file, "EC PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	// A key that others could read stays usable, but not readable.
	if err := os.Chmod(file, 0o600); err != nil {
		return nil, err
	}
	return x509.ParseECPrivateKey(der)
}
