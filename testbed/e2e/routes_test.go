package e2e

import (
	"fmt"
	"net/http"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// colours brings up a Gateway and two services, blue and green, that answer with their names.
func colours(t *testing.T, from string) (ns, url string) {
	t.Helper()
	ns = namespace(t)
	for _, colour := range []string{"blue", "green"} {
		apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": colour, "id": colour, "replicas": 1, "linger": 0}))
	}
	apply(t, ns, manifest(t, "gateway.yaml", map[string]any{"replicas": 2, "from": from}))
	awaitReady(t, ns, "blue")
	awaitReady(t, ns, "green")
	return ns, awaitGateway(t, ns, "gw", 80)
}

func route(t *testing.T, ns, gatewayNamespace, name, rules string) {
	t.Helper()
	apply(t, ns, manifest(t, "route.yaml", map[string]any{"name": name, "gateway": gatewayNamespace, "rules": rules}))
}

func weighted(blue, green int) string {
	return fmt.Sprintf(`[{backendRefs: [{name: blue, port: 80, weight: %d}, {name: green, port: 80, weight: %d}]}]`, blue, green)
}

// count sends requests and counts who answered.
func count(t *testing.T, url string, requests int) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for range requests {
		got, err := ask(url, "any")
		if err != nil {
			t.Fatal(err)
		}
		if got.status != http.StatusOK {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
		seen[got.upstream()]++
	}
	return seen
}

func TestWeightsAreHonoured(t *testing.T) {
	ns, url := colours(t, "Same")
	propagate(t, ns, "gw", func() { route(t, ns, ns, "colours", weighted(90, 10)) })
	awaitAnswer(t, url, "any", http.StatusOK)
	seen := count(t, url, 1000)
	t.Logf("FIGURE weights 90/10 over 1000 requests: %v", seen)
	// Five standard deviations of a fair draw; a smooth choice is well within.
	if green := seen["green"]; green < 53 || green > 147 || seen["blue"]+green != 1000 {
		t.Errorf("weights 90/10 gave %v", seen)
	}
	propagate(t, ns, "gw", func() { route(t, ns, ns, "colours", weighted(0, 100)) })
	if seen = count(t, url, 1000); seen["green"] != 1000 {
		t.Errorf("weights 0/100 gave %v", seen)
	}
}

func TestHeadersAndPathsDecide(t *testing.T) {
	ns, url := colours(t, "Same")
	route(t, ns, ns, "matches", `
    - matches:
        - path: {type: PathPrefix, value: /v1/chat}
          headers: [{name: x-colour, value: green}]
        - path: {type: Exact, value: /green/v1/chat/completions}
      filters:
        - type: URLRewrite
          urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /v1/chat/completions}}
      backendRefs: [{name: green, port: 80}]
    - matches:
        - path: {type: PathPrefix, value: /v1}
          headers: [{name: x-colour, value: "^bl.e$", type: RegularExpression}]
        - path: {type: PathPrefix, value: /blue}
      filters:
        - type: URLRewrite
          urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /v1/chat/completions}}
      backendRefs: [{name: blue, port: 80}]`)
	awaitCondition(t, "HTTPRoute", ns, "matches", "Accepted", meta.ConditionTrue)
	awaitAnswer(t, url, "any", http.StatusOK, withHeader("x-colour", "green"))
	cases := []struct {
		path, colour string
		status       int
		upstream     string
	}{
		{"/v1/chat/completions", "green", 200, "green"},
		{"/v1/chat/completions", "blue", 200, "blue"},
		{"/v1/chat/completions", "bluue", 404, ""},
		{"/v1/chat/completions", "", 404, ""},
		{"/green/v1/chat/completions", "", 200, "green"},
		{"/green/v1/chat/completions/more", "", 404, ""},
		{"/blue/anything", "", 200, "blue"},
		{"/bluebell", "", 404, ""},
	}
	for _, c := range cases {
		var options []option
		if c.colour != "" {
			options = append(options, withHeader("x-colour", c.colour))
		}
		got, err := post(url, c.path, chat("any"), options...)
		if err != nil {
			t.Errorf("%s, colour %q: %v", c.path, c.colour, err)
		} else if got.status != c.status || got.upstream() != c.upstream {
			t.Errorf("%s, colour %q: status %d from %q, expected %d from %q", c.path, c.colour, got.status, got.upstream(), c.status, c.upstream)
		}
	}
}

const grant = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata:
  name: let-in
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: %s}]
  to: [{group: "", kind: Service, name: blue}]
`

func TestAnotherNamespaceNeedsAReferenceGrant(t *testing.T) {
	ns, url := colours(t, "Same")
	other := namespace(t)
	apply(t, other, manifest(t, "upstream.yaml", map[string]any{"name": "blue", "id": "other", "replicas": 1, "linger": 0}))
	awaitReady(t, other, "blue")
	route(t, ns, ns, "across", fmt.Sprintf(`[{backendRefs: [{name: blue, namespace: %s, port: 80}]}]`, other))
	awaitRefusal(t, "HTTPRoute", ns, "across", "ResolvedRefs", "RefNotPermitted", "ReferenceGrant")
	awaitAnswer(t, url, "any", http.StatusInternalServerError)

	apply(t, other, fmt.Sprintf(grant, ns))
	awaitCondition(t, "HTTPRoute", ns, "across", "ResolvedRefs", meta.ConditionTrue)
	if got := awaitAnswer(t, url, "any", http.StatusOK); got.upstream() != "other" {
		t.Errorf("%q answered", got.upstream())
	}

	if out, err := env.kubectl("", "-n", other, "delete", "referencegrant", "let-in"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitRefusal(t, "HTTPRoute", ns, "across", "ResolvedRefs", "RefNotPermitted")
	awaitAnswer(t, url, "any", http.StatusInternalServerError)
}

func TestAListenerLetsInWhomItNames(t *testing.T) {
	ns, url := colours(t, "Same")
	other := namespace(t)
	route(t, other, ns, "intruder", `[{backendRefs: [{name: blue, port: 80}]}]`)
	awaitRefusal(t, "HTTPRoute", other, "intruder", "Accepted", "NotAllowedByListeners")
	awaitAnswer(t, url, "any", http.StatusNotFound)
}
