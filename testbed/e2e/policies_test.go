package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAPolicyThatNobodyEnforcesClosesItsRoute applies a SecurityPolicy, as people who come from Envoy Gateway have it, and
// takes it away again.
func TestAPolicyThatNobodyEnforcesClosesItsRoute(t *testing.T) {
	ns, url := colours(t, "Same")
	for _, colour := range []string{"blue", "green"} {
		route(t, ns, ns, colour, fmt.Sprintf(`
    - matches: [{headers: [{name: x-colour, value: %s}]}]
      backendRefs: [{name: %[1]s, port: 80}]`, colour))
		awaitAnswer(t, url, "any", http.StatusOK, withHeader("x-colour", colour))
	}
	const policy = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata:
  name: login
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: blue}]
  oidc:
    provider: {issuer: "https://accounts.example.com", backendRefs: [{name: login, port: 443}]}
    clientID: penstock
    clientSecret: {name: login}`
	propagate(t, ns, "gw", func() { apply(t, ns, policy) })
	got, err := ask(url, "any", withHeader("x-colour", "blue"))
	if err != nil || got.status != http.StatusInternalServerError || !strings.Contains(got.body, "unsupported_policy") {
		t.Errorf("the route is open, or the answer does not say why it is closed: %v %+v", err, got)
	}
	if got, err := ask(url, "any", withHeader("x-colour", "green")); err != nil || got.status != http.StatusOK {
		t.Errorf("the other route suffers: %v %+v", err, got)
	}
	awaitRefusal(t, "SecurityPolicy", ns, "login", "Accepted", "Unsupported", "spec.oidc.provider.backendRefs", "penstock.dev/ignore")
	closed := awaitCondition(t, "HTTPRoute", ns, "blue", "penstock.dev/Closed", meta.ConditionTrue)
	if !strings.Contains(closed.Message, "SecurityPolicy "+ns+"/login") {
		t.Errorf("the route does not name the policy: %s", closed.Message)
	}

	if out, err := env.kubectl("", "-n", ns, "annotate", "securitypolicy/login", "penstock.dev/ignore=true"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitAnswer(t, url, "any", http.StatusOK, withHeader("x-colour", "blue"))
	awaitCondition(t, "HTTPRoute", ns, "blue", "penstock.dev/PoliciesIgnored", meta.ConditionTrue)
	apply(t, ns, strings.Replace(policy, "name: login\n", "name: login\n  annotations: {penstock.dev/ignore: \"false\"}\n", 1))
	awaitAnswer(t, url, "any", http.StatusInternalServerError, withHeader("x-colour", "blue"))

	if out, err := env.kubectl("", "-n", ns, "delete", "securitypolicy/login"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitAnswer(t, url, "any", http.StatusOK, withHeader("x-colour", "blue"))
	eventually(t, "the route is not closed any more", func() error {
		object, err := get("HTTPRoute", ns, "blue")
		if err != nil {
			return err
		}
		for _, c := range conditions(object) {
			if strings.HasPrefix(c.Type, "penstock.dev/") {
				return fmt.Errorf("it has %s: %s", c.Type, c.Message)
			}
		}
		return nil
	})
}

// TestAPolicyHasPeopleLogIn applies a SecurityPolicy with a Secret and a provider that is not there: nobody passes, programs
// are told so, and people that nobody can log in now. `make login` has a provider.
func TestAPolicyHasPeopleLogIn(t *testing.T) {
	ns, url := colours(t, "Same")
	route(t, ns, ns, "blue", `[{backendRefs: [{name: blue, port: 80}]}]`)
	awaitAnswer(t, url, "any", http.StatusOK)
	const policy = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata:
  name: login
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]
  oidc:
    provider: {issuer: "https://accounts.example.invalid"}
    clientID: penstock
    clientSecret: {name: login}`
	propagate(t, ns, "gw", func() { apply(t, ns, policy) })
	if got, err := ask(url, "any"); err != nil || got.status != http.StatusInternalServerError {
		t.Errorf("the Gateway is open without the Secret: %v %+v", err, got)
	}
	awaitRefusal(t, "SecurityPolicy", ns, "login", "Accepted", "Invalid", "spec.oidc.clientSecret", "does not exist")

	propagate(t, ns, "gw", func() {
		apply(t, ns, `
apiVersion: v1
kind: Secret
metadata:
  name: login
stringData: {client-secret: a-long-and-random-secret}`)
	})
	awaitAnswer(t, url, "any", http.StatusUnauthorized)
	awaitCondition(t, "SecurityPolicy", ns, "login", "Accepted", meta.ConditionTrue)
	eventually(t, "people are told that nobody can log in now", func() error {
		response, err := client.Get(url + "/v1/models")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if response.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "login_unavailable") {
			return fmt.Errorf("%v %d %s", err, response.StatusCode, body)
		}
		return nil
	})
}
