package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// guarded is a Gateway with the routes blue and green, of which policies are for the former.
type guarded struct {
	ns, url string
}

// TestSecurityPolicies applies Envoy Gateway's SecurityPolicies in turn: who may ask, and what upstreams are told of them.
func TestSecurityPolicies(t *testing.T) {
	var g guarded
	g.ns, g.url = colours(t, "Same")
	for _, colour := range []string{"blue", "green"} {
		route(t, g.ns, g.ns, colour, fmt.Sprintf(`
    - matches: [{headers: [{name: x-colour, value: %s}]}]
      backendRefs: [{name: %[1]s, port: 80}]`, colour))
		awaitAnswer(t, g.url, "any", http.StatusOK, withHeader("x-colour", colour))
	}
	t.Run("keys", g.keys)
	t.Run("users", g.users)
	t.Run("tokens", g.tokens)
	t.Run("fetched keys of tokens", g.fetchedKeys)
	t.Run("addresses", g.addresses)
	t.Run("a Gateway", g.gateway)
}

func (g guarded) keys(t *testing.T) {
	g.secret(t, "keys", map[string]string{"client1": "first-key", "client2": "second-key"})
	g.policy(t, "blue", `
  apiKeyAuth:
    credentialRefs: [{group: "", kind: Secret, name: keys}]
    extractFrom: [{headers: [x-api-key]}]
    forwardClientIDHeader: x-client-id
    sanitize: true`)
	g.refuses(t, http.StatusUnauthorized)
	g.refuses(t, http.StatusUnauthorized, withHeader("x-api-key", "no-key"))
	got := g.serves(t, withHeader("x-api-key", "second-key"), withHeader("x-client-id", "somebody"),
		sees("x-client-id", "client2"), seesNo("x-api-key"))
	if got.upstream() != "blue" {
		t.Errorf("%q answered", got.upstream())
	}
	if got, err := ask(g.url, "any", withHeader("x-colour", "green")); err != nil || got.status != http.StatusOK {
		t.Errorf("the other route suffers: %v %+v", err, got)
	}
	if out, err := env.kubectl("", "-n", g.ns, "get", "configmaps", "-o", "yaml"); err != nil || strings.Contains(out, "first-key") {
		t.Errorf("a ConfigMap has a key: %v", err)
	}

	g.secret(t, "keys", map[string]string{"client1": "first-key", "client2": "another-key"})
	g.serves(t, withHeader("x-api-key", "another-key"))
	g.refuses(t, http.StatusUnauthorized, withHeader("x-api-key", "second-key"))
	g.serves(t, withHeader("x-api-key", "first-key"))

	if out, err := env.kubectl("", "-n", g.ns, "delete", "secret/keys"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitRefusal(t, "SecurityPolicy", g.ns, "access", "Accepted", "Invalid", "keys does not exist")
	awaitCondition(t, "HTTPRoute", g.ns, "blue", "penstock.dev/Closed", meta.ConditionTrue)
	g.refuses(t, http.StatusInternalServerError, withHeader("x-api-key", "first-key"))
	g.secret(t, "keys", map[string]string{"client1": "first-key"})
	g.serves(t, withHeader("x-api-key", "first-key"))
}

func (g guarded) users(t *testing.T) {
	digest := sha1.Sum([]byte("a:password"))
	g.secret(t, "users", map[string]string{".htpasswd": "foo:{SHA}" + base64.StdEncoding.EncodeToString(digest[:]) + "\n"})
	g.policy(t, "blue", `
  basicAuth:
    users: {name: users}
    forwardUsernameHeader: x-user`)
	login := func(name, password string) option {
		return func(r *http.Request) { r.SetBasicAuth(name, password) }
	}
	g.challenges(t, "Basic ")
	g.serves(t, login("foo", "a:password"), withHeader("x-user", "root"), sees("x-user", "foo"))
	g.refuses(t, http.StatusUnauthorized, login("foo", "another"))
	g.refuses(t, http.StatusUnauthorized, login("bar", "a:password"))
}

func (g guarded) tokens(t *testing.T) {
	issuer, stranger := newIssuer(t, "one"), newIssuer(t, "one")
	g.policy(t, "blue", fmt.Sprintf(`
  jwt:
    providers:
      - name: example
        issuer: https://issuer.example.com
        audiences: [models]
        localJWKS: {type: Inline, inline: '%s'}
        claimToHeaders: [{header: x-name, claim: user.name}]
  authorization:
    defaultAction: Deny
    rules:
      - name: admins
        action: Allow
        principal:
          jwt:
            provider: example
            scopes: [read]
            claims: [{name: roles, valueType: StringArray, values: [admin, owner]}]`, issuer.keySet(t)))
	claims := func(changes map[string]any) map[string]any {
		all := map[string]any{
			"iss": "https://issuer.example.com", "aud": "models", "sub": "jane", "exp": time.Now().Add(time.Hour).Unix(),
			"user": map[string]string{"name": "Jane Doe"}, "roles": []string{"user", "admin"}, "scope": "read write",
		}
		for name, value := range changes {
			all[name] = value
		}
		return all
	}
	g.challenges(t, "Bearer ")
	g.serves(t, issuer.token(t, claims(nil)), withHeader("x-name", "root"), sees("x-name", "Jane Doe"))
	g.refuses(t, http.StatusUnauthorized, stranger.token(t, claims(nil)))
	for name, value := range map[string]any{"iss": "https://other.example.com", "aud": "others", "exp": time.Now().Add(-time.Hour).Unix()} {
		g.refuses(t, http.StatusUnauthorized, issuer.token(t, claims(map[string]any{name: value})))
	}
	for name, value := range map[string]any{"roles": []string{"user"}, "scope": "write"} {
		g.refuses(t, http.StatusForbidden, issuer.token(t, claims(map[string]any{name: value})))
	}
}

func (g guarded) fetchedKeys(t *testing.T) {
	issuer := newIssuer(t, "one")
	var keys atomic.Value
	keys.Store(issuer.keySet(t))
	// Data planes reach the host by the address of its node.
	listener, err := net.Listen("tcp", env.NodeIP(0)+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("content-type", "application/json")
			fmt.Fprint(w, keys.Load())
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	g.policy(t, "blue", fmt.Sprintf(`
  jwt:
    optional: true
    providers:
      - name: example
        remoteJWKS: {uri: "http://%s/keys"}`, listener.Addr()))
	claims := map[string]any{"sub": "jane", "exp": time.Now().Add(time.Hour).Unix()}
	g.serves(t, issuer.token(t, claims))
	g.serves(t)
	next := newIssuer(t, "two")
	g.refuses(t, http.StatusUnauthorized, next.token(t, claims))
	keys.Store(next.keySet(t))
	g.serves(t, next.token(t, claims))
	g.refuses(t, http.StatusUnauthorized, issuer.token(t, claims))
}

func (g guarded) addresses(t *testing.T) {
	rules := func(range_ string) string {
		return fmt.Sprintf(`
  authorization:
    rules: [{action: Allow, principal: {clientCIDRs: [%q]}}]`, range_)
	}
	g.policy(t, "blue", rules("192.0.2.0/24"))
	g.refuses(t, http.StatusForbidden)
	// Node ports are forwarded from the node's own address.
	g.policy(t, "blue", rules(env.PodCIDR()))
	g.serves(t)
}

// gateway puts a policy in force for everything, the Gateway's own answers included, until a route has its own.
func (g guarded) gateway(t *testing.T) {
	if out, err := env.kubectl("", "-n", g.ns, "delete", "securitypolicy/access"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g.secret(t, "keys", map[string]string{"client1": "first-key"})
	apply(t, g.ns, securityPolicy("everything", "Gateway", "gw", `
  apiKeyAuth:
    credentialRefs: [{group: "", kind: Secret, name: keys}]
    extractFrom: [{headers: [authorization]}]`))
	awaitCondition(t, "SecurityPolicy", g.ns, "everything", "Accepted", meta.ConditionTrue)
	g.refuses(t, http.StatusUnauthorized)
	g.serves(t, withHeader("authorization", "Bearer first-key"))
	for _, path := range []string{"/v1/models", "/nowhere"} {
		if got, err := fetch(g.url + path); err != nil || got.status != http.StatusUnauthorized {
			t.Errorf("%s is open: %v %+v", path, err, got)
		}
	}
	apply(t, g.ns, securityPolicy("open", "HTTPRoute", "blue", "\n  cors: {allowOrigins: [\"*\"]}"))
	g.serves(t)
	awaitAnswer(t, g.url, "any", http.StatusUnauthorized, withHeader("x-colour", "green"))
	awaitAnswer(t, g.url, "any", http.StatusOK, withHeader("x-colour", "green"), withHeader("authorization", "Bearer first-key"))
}

// policy puts a SecurityPolicy in force for a route, in place of the one that was.
func (g guarded) policy(t *testing.T, route, spec string) {
	t.Helper()
	apply(t, g.ns, securityPolicy("access", "HTTPRoute", route, spec))
	awaitCondition(t, "SecurityPolicy", g.ns, "access", "Accepted", meta.ConditionTrue)
}

func securityPolicy(name, kind, target, spec string) string {
	return fmt.Sprintf(`
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata:
  name: %s
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: %s, name: %s}]%s`, name, kind, target, spec)
}

func (g guarded) secret(t *testing.T, name string, values map[string]string) {
	t.Helper()
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]string{"name": name}, "stringData": values,
	})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, g.ns, string(secret))
}

// serves waits until both of the data planes serve the blue route, which takes as many answers as replicas in a row.
func (g guarded) serves(t *testing.T, options ...option) *answer {
	t.Helper()
	return g.awaits(t, http.StatusOK, options)
}

// challenges waits until the blue route's requests are asked for such a credential. The policy before may refuse them as
// well, so that the status does not tell whose answer it is.
func (g guarded) challenges(t *testing.T, scheme string) {
	t.Helper()
	eventually(t, "a challenge of "+scheme, func() error {
		got := g.refuses(t, http.StatusUnauthorized)
		if challenge := got.header.Get("www-authenticate"); !strings.HasPrefix(challenge, scheme) {
			return fmt.Errorf("the challenge is %q", challenge)
		}
		return nil
	})
}

// refuses waits until the blue route's requests get this status.
func (g guarded) refuses(t *testing.T, status int, options ...option) *answer {
	t.Helper()
	return g.awaits(t, status, options)
}

// awaits sends requests until several of them in a row have this status: what one data plane knows, another may not yet.
func (g guarded) awaits(t *testing.T, status int, options []option) *answer {
	t.Helper()
	var got *answer
	eventually(t, fmt.Sprintf("answers %d", status), func() error {
		for range 8 {
			var err error
			if got, err = ask(g.url, "any", append(options, withHeader("x-colour", "blue"))...); err != nil {
				return err
			}
			if got.status != status {
				return fmt.Errorf("status %d: %.300s", got.status, got.body)
			}
		}
		return nil
	})
	return got
}

// sees has the upstream refuse a request that does not show it this header.
func sees(name, value string) option {
	return withHeader("x-expected-headers", base64.StdEncoding.EncodeToString([]byte(name+":"+value)))
}

// seesNo has the upstream refuse a request that shows it this header.
func seesNo(name string) option {
	return withHeader("x-non-expected-request-headers", base64.StdEncoding.EncodeToString([]byte(name)))
}

// issuer is an identity provider, as far as its tokens go.
type issuer struct {
	id  string
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T, id string) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{id, key}
}

// keySet is its public key (RFC 7517).
func (i *issuer) keySet(t *testing.T) string {
	t.Helper()
	point, err := i.key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	// 4, x and y.
	bytes := point.Bytes()
	encode := base64.RawURLEncoding.EncodeToString
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "kid": i.id, "use": "sig", "alg": "ES256", "x": encode(bytes[1:33]), "y": encode(bytes[33:]),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(set)
}

// token shows a token with these claims.
func (i *issuer) token(t *testing.T, claims map[string]any) option {
	t.Helper()
	part := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := part(map[string]string{"alg": "ES256", "typ": "JWT", "kid": i.id}) + "." + part(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return withHeader("authorization", "Bearer "+signed+"."+base64.RawURLEncoding.EncodeToString(signature))
}
