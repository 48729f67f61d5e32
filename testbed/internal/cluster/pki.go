package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// authority signs everything in a cluster: servers, clients and, with a key of its own, service account tokens.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// newAuthority writes ca.crt, ca.key and the service account key pair sa.key and sa.pub.
func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &authority{dir: dir}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "penstock-testbed"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if err := a.sign("ca", template); err != nil {
		return nil, err
	}
	key, err := newKey(filepath.Join(dir, "sa.key"))
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return a, writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", public)
}

// sign writes NAME.crt and NAME.key. The first certificate is the authority's own.
func (a *authority) sign(name string, template *x509.Certificate) error {
	key, err := newKey(filepath.Join(a.dir, name+".key"))
	if err != nil {
		return err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(30 * 24 * time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return err
	}
	if a.cert == nil {
		a.key = key
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return err
		}
	}
	return writePEM(filepath.Join(a.dir, name+".crt"), "CERTIFICATE", der)
}

func (a *authority) server(name string, ips []string, names []string) error {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    names,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, ip := range ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	return a.sign(name, template)
}

func (a *authority) client(name, user string, groups ...string) error {
	return a.sign(name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

func newKey(path string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// writeKubeconfig writes a self-contained kubeconfig for the client certificate NAME.
func writeKubeconfig(i *Instance, name, path string) error {
	var failed error
	read := func(file string) []byte {
		data, err := os.ReadFile(i.Path("pki", file))
		failed = errors.Join(failed, err)
		return data
	}
	context := "penstock-" + i.Name
	config := api.Config{
		Clusters: map[string]*api.Cluster{context: {
			Server:                   i.APIServer(),
			CertificateAuthorityData: read("ca.crt"),
		}},
		AuthInfos: map[string]*api.AuthInfo{name: {
			ClientCertificateData: read(name + ".crt"),
			ClientKeyData:         read(name + ".key"),
		}},
		Contexts:       map[string]*api.Context{context: {Cluster: context, AuthInfo: name}},
		CurrentContext: context,
	}
	return errors.Join(failed, clientcmd.WriteToFile(config, path))
}

// writePKI writes all certificates and kubeconfigs of a cluster.
func writePKI(i *Instance, nodes int) error {
	ca, err := newAuthority(i.Path("pki"))
	if err != nil {
		return err
	}
	ips := []string{i.NodeIP(0), i.KubernetesServiceIP(), "127.0.0.1"}
	names := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}
	if err := ca.server("apiserver", ips, names); err != nil {
		return err
	}
	var nodeIPs []string
	for n := range nodes {
		nodeIPs = append(nodeIPs, i.NodeIP(n))
	}
	if err := ca.server("kubelet", nodeIPs, nil); err != nil {
		return err
	}
	clients := []struct{ name, user, group string }{
		{"admin", "penstock-testbed-admin", "system:masters"},
		{"kubelet-client", "kube-apiserver", "system:masters"},
		{"kube-controller-manager", "system:kube-controller-manager", ""},
		{"kube-scheduler", "system:kube-scheduler", ""},
	}
	for _, c := range clients {
		var groups []string
		if c.group != "" {
			groups = append(groups, c.group)
		}
		if err := ca.client(c.name, c.user, groups...); err != nil {
			return err
		}
		path := i.Path(c.name + ".kubeconfig")
		if c.name == "admin" {
			path = i.Path("kubeconfig")
		}
		if err := writeKubeconfig(i, c.name, path); err != nil {
			return err
		}
	}
	return nil
}
