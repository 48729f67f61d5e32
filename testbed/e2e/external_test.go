package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestExternalAuthorization asks the servers that Envoy Gateway publishes as its examples for external authorization, by
// gRPC over TLS and by HTTP, their manifests as they are: who shows one of their tokens is let in, and upstreams are told
// whom they know.
func TestExternalAuthorization(t *testing.T) {
	var g guarded
	g.ns, g.url = colours(t, "Same")
	for _, colour := range []string{"blue", "green"} {
		route(t, g.ns, g.ns, colour, fmt.Sprintf(`
    - matches: [{headers: [{name: x-colour, value: %s}]}]
      backendRefs: [{name: %[1]s, port: 80}]`, colour))
		awaitAnswer(t, g.url, "any", http.StatusOK, withHeader("x-colour", colour))
	}
	t.Run("HTTP", func(t *testing.T) {
		g.external(t, "http-ext-auth", "ext-auth-http-service.yaml", `
  extAuth:
    http:
      backendRefs: [{name: http-ext-auth, port: 9002}]
      headersToBackend: [x-current-user]`)
	})
	t.Run("gRPC", func(t *testing.T) {
		// As its task says: the server's certificate is its own authority.
		apply(t, g.ns, `
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata:
  name: grpc-ext-auth-btls
spec:
  targetRefs: [{group: "", kind: Service, name: grpc-ext-auth}]
  validation:
    caCertificateRefs: [{group: "", kind: ConfigMap, name: grpc-ext-auth-ca}]
    hostname: grpc-ext-auth`)
		g.external(t, "grpc-ext-auth", "ext-auth-grpc-service.yaml", `
  extAuth:
    grpc:
      backendRefs: [{name: grpc-ext-auth, port: 9002}]`)
	})
}

// external puts a server and a policy in force, and asks with tokens that the server knows and does not know.
func (g guarded) external(t *testing.T, server, file, policy string) {
	t.Helper()
	if out, err := env.kubectl("", "apply", "--namespace", g.ns, "-f", filepath.Join(envoyGateway(t), file)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitReady(t, g.ns, server)
	g.policy(t, "blue", policy)
	bearer := func(token string) option { return withHeader("authorization", "Bearer "+token) }
	g.refuses(t, http.StatusForbidden)
	g.refuses(t, http.StatusForbidden, bearer("token4"))
	for user, token := range map[string]string{"user1": "token1", "user3": "token3"} {
		g.serves(t, bearer(token), withHeader("x-current-user", "somebody"), sees("x-current-user", user))
	}
	if got, err := ask(g.url, "any", withHeader("x-colour", "green")); err != nil || got.status != http.StatusOK {
		t.Errorf("the other route suffers: %v %+v", err, got)
	}

	// A server that is gone lets nobody in, and everybody where the policy says so.
	if out, err := env.kubectl("", "-n", g.ns, "scale", "deployment/"+server, "--replicas=0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitReady(t, g.ns, server)
	g.refuses(t, http.StatusForbidden, bearer("token1"))
	g.policy(t, "blue", strings.Replace(policy, "extAuth:", "extAuth:\n    failOpen: true", 1))
	g.serves(t, bearer("token4"))
}

// envoyGateway is the folder of Envoy Gateway's examples as they are published.
func envoyGateway(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(repo("testbed/ext-auth.sh"), "--manifests").Output()
	if err != nil {
		t.Fatalf("ext-auth.sh: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// TestEnvoyGatewaysExamples applies Envoy Gateway's examples that have policies, as they are, and tells what becomes of
// them: each has a status, which names what is not acted on.
func TestEnvoyGatewaysExamples(t *testing.T) {
	const ns = "default"
	for _, c := range []struct{ file, kind, name, says string }{
		{"jwt/jwt.yaml", "SecurityPolicy", "jwt-example", ""},
		{"admission-control.yaml", "BackendTrafficPolicy", "admission-control-policy", "admissionControl"},
	} {
		t.Run(c.file, func(t *testing.T) {
			// The quick start has the Gateway that they are for.
			applyExamples(t, ns, envoyGateway(t), []string{"quickstart", strings.TrimSuffix(c.file, ".yaml")})
			eventually(t, "a status", func() error {
				object, err := get(c.kind, ns, c.name)
				if err != nil {
					return err
				}
				all := conditions(object)
				if !slices.ContainsFunc(all, func(one meta.Condition) bool { return one.Type == "Accepted" }) || !strings.Contains(show(all), c.says) {
					return fmt.Errorf("it does not say %q: %s", c.says, show(all))
				}
				t.Logf("FIGURE %s: %s %s: %s", c.file, c.kind, c.name, show(all))
				return nil
			})
		})
	}
}
