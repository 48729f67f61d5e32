package e2e

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// outside is the world outside of the cluster, for data planes of one namespace: names of providers that lead to a
// simulator, and an authority for its certificate.
type outside struct {
	namespace string
	client    *http.Client
	google    *rsa.PrivateKey
	all       []seenRequest
}

// outsideNames are the hosts of the examples, and those that tokens come from.
var outsideNames = []string{
	"api.openai.com",
	"api.anthropic.com",
	"bedrock-runtime.us-east-1.amazonaws.com",
	"dummy-azure-resource.openai.azure.com",
	"login.microsoftonline.com",
	"us-central1-aiplatform.googleapis.com",
	"us-east5-aiplatform.googleapis.com",
	"oauth2.googleapis.com",
}

const googleAccount = "penstock@models.iam.gserviceaccount.com"

// startOutside brings that world up, before the data planes that shall know it. Containers know names from their start on.
func startOutside(t *testing.T, dataPlanes string) *outside {
	t.Helper()
	o := &outside{namespace: namespace(t)}
	o.google = rsaKey(t)
	authority, certificate, key := certificates(t, outsideNames)
	o.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.pool(), ServerName: outsideNames[0]}}}

	ctx := context.Background()
	secret := &core.Secret{ObjectMeta: meta.ObjectMeta{Name: "providers"}, StringData: map[string]string{
		"tls.crt": certificate, "tls.key": key, "credentials.json": o.credentials(t),
	}}
	if _, err := env.client.CoreV1().Secrets(o.namespace).Create(ctx, secret, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	models := []string{bedrocksClaude.model}
	for _, c := range providerCases {
		models = append(models, c.model)
	}
	apply(t, o.namespace, manifest(t, "providers.yaml", map[string]any{"models": models}))
	awaitReady(t, o.namespace, "providers")
	service, err := env.client.CoreV1().Services(o.namespace).Get(ctx, "providers", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hosts := fmt.Sprintf("%s %s\n", service.Spec.ClusterIP, strings.Join(outsideNames, " "))
	putConfigMap(t, "kube-system", "testbed-names", "hosts", hosts)
	// Folders of authorities are read as OpenSSL does it: by files that are called after a hash, which nobody checks here.
	putConfigMap(t, dataPlanes, "authorities", "00000000.0", authority.pem)
	return o
}

// url is where the simulator is reached from the host.
func (o *outside) url(t *testing.T) string {
	t.Helper()
	all := pods(t, o.namespace, "app=providers")
	if len(all) != 1 {
		t.Fatalf("there are %d simulators", len(all))
	}
	return fmt.Sprintf("https://%s:8443", all[0].Status.PodIP)
}

// credentials are those that the simulator takes: the placeholders of the examples.
func (o *outside) credentials(t *testing.T) string {
	t.Helper()
	type list []map[string]string
	known := map[string]any{
		"secret":    "e2e",
		"openai":    map[string]any{"api_keys": []string{"OPENAI_API_KEY"}},
		"anthropic": map[string]any{"api_keys": []string{"ANTHROPIC_API_KEY"}},
		"aws":       map[string]any{"access_keys": list{{"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}}},
		"azure":     map[string]string{"tenant": "AZURE_TENANT_ID", "client_id": "AZURE_CLIENT_ID", "client_secret": "AZURE_CLIENT_SECRET"},
		"google":    map[string]any{"service_accounts": list{{"client_email": googleAccount, "private_key": keyPEM(t, o.google)}}},
	}
	text, err := json.Marshal(known)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// googleKey is a Secret with a key file of the account that the simulator knows, which has o.google.
func googleKey(t *testing.T, name string, key *rsa.PrivateKey) string {
	t.Helper()
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "models", "private_key_id": "1", "private_key": keyPEM(t, key),
		"client_email": googleAccount, "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": name},
		"stringData": map[string]string{"service_account.json": string(file)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(secret)
}

func putConfigMap(t *testing.T, namespace, name, key, value string) {
	t.Helper()
	maps := env.client.CoreV1().ConfigMaps(namespace)
	object := &core.ConfigMap{ObjectMeta: meta.ObjectMeta{Name: name}, Data: map[string]string{key: value}}
	if _, err := maps.Create(context.Background(), object, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := maps.Delete(context.Background(), name, meta.DeleteOptions{})
		if err != nil && !errors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// authority is a certificate that signs others.
type authority struct {
	certificate *x509.Certificate
	pem         string
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// certificates makes an authority, and a certificate with its key for these names.
func certificates(t *testing.T, names []string) (*authority, string, string) {
	t.Helper()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	sign := func(certificate, by *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) ([]byte, string) {
		der, err := x509.CreateCertificate(rand.Reader, certificate, by, key, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	caKey, key := newKey(), newKey()
	ca := template(1, "the world outside")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, caPEM := sign(ca, ca, caKey.Public(), caKey)
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	leaf := template(2, "providers")
	leaf.DNSNames, leaf.ExtKeyUsage = names, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	_, leafPEM := sign(leaf, parsed, key.Public(), caKey)
	return &authority{parsed, caPEM}, leafPEM, keyPEM(t, key)
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyPEM is a private key as PKCS #8.
func keyPEM(t *testing.T, key crypto.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
