package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Each object here means harm or is a mistake. It is refused, by the API server or in its status with the reason, and
// the route beside it goes on working.

// bystander is a Gateway with a route that nothing may disturb.
func bystander(t *testing.T) (ns string, check func()) {
	t.Helper()
	ns, url := colours(t, "All")
	route(t, ns, ns, "bystander", `
    - matches: [{headers: [{name: x-colour, value: blue}]}]
      backendRefs: [{name: blue, port: 80}]`)
	awaitAnswer(t, url, "any", http.StatusOK, withHeader("x-colour", "blue"))
	return ns, func() {
		t.Helper()
		got, err := ask(url, "any", withHeader("x-colour", "blue"))
		if err != nil || got.status != http.StatusOK || got.upstream() != "blue" {
			t.Errorf("the bystander suffers: %v %+v", err, got)
		}
	}
}

func TestObjectsOfAMegabyte(t *testing.T) {
	ns, check := bystander(t)
	// Names and values have limits in the CRDs; these must be refused at the door.
	huge := strings.Repeat("x", 1<<20)
	for what, rules := range map[string]string{
		"header value":  fmt.Sprintf(`[{matches: [{headers: [{name: x-a, value: %s}]}]}]`, huge),
		"header name":   fmt.Sprintf(`[{matches: [{headers: [{name: %s, value: a}]}]}]`, huge),
		"path":          fmt.Sprintf(`[{matches: [{path: {type: PathPrefix, value: /%s}}]}]`, huge),
		"backend name":  fmt.Sprintf(`[{backendRefs: [{name: %s, port: 80}]}]`, huge),
		"header to set": fmt.Sprintf(`[{filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: %s}]}}]}]`, huge),
	} {
		out, err := tryApply(ns, manifest(t, "route.yaml", map[string]any{"name": "huge", "gateway": ns, "rules": rules}))
		if err == nil {
			t.Errorf("a %s of 1 MB was accepted: %.200s", what, out)
		}
	}
	// Where nothing limits it: annotations and labels of 200 KB, and a config map of a megabyte as a picker's profile.
	apply(t, ns, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: annotated
  annotations: {harm: %s}
spec:
  parentRefs: [{name: gw}]
  rules: [{matches: [{path: {type: Exact, value: /annotated}}], backendRefs: [{name: green, port: 80}]}]`, huge[:200<<10]))
	awaitCondition(t, "HTTPRoute", ns, "annotated", "Accepted", meta.ConditionTrue)
	apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": "up", "id": "", "replicas": 1, "linger": 0}))
	apply(t, ns, manifest(t, "pool.yaml", map[string]any{"name": "up"}))
	apply(t, ns, manifest(t, "profile.yaml", map[string]any{"pool": "up", "config": strconv.Quote("plugins: [{type: " + huge[:900<<10] + "}]")}))
	route(t, ns, ns, "pool", `
    - matches: [{path: {type: PathPrefix, value: /pool}}]
      backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: up}]`)
	awaitCondition(t, "HTTPRoute", ns, "pool", "Accepted", meta.ConditionTrue)
	check()
}

func TestInvalidRegularExpressions(t *testing.T) {
	ns, check := bystander(t)
	for name, expression := range map[string]string{"unclosed": "a(b", "lookahead": "(?=a)b", "huge": "(a{1000}){1000}"} {
		route(t, ns, ns, name, fmt.Sprintf(`
    - matches: [{headers: [{name: x-colour, value: "%s", type: RegularExpression}]}]
      backendRefs: [{name: green, port: 80}]`, expression))
		// The specification leaves open which of the two it is.
		eventually(t, name+" is refused with a reason that names the expression", func() error {
			object, err := get("HTTPRoute", ns, name)
			if err != nil {
				return err
			}
			for _, c := range conditions(object) {
				bad := c.Type == "Accepted" && c.Status == meta.ConditionFalse || c.Type == "PartiallyInvalid" && c.Status == meta.ConditionTrue
				if bad && strings.Contains(strings.ToLower(c.Message), "reg") {
					return nil
				}
			}
			return fmt.Errorf("%s", show(conditions(object)))
		})
	}
	check()
}

func TestConflictingRoutes(t *testing.T) {
	ns, check := bystander(t)
	// The same match twice: the older route wins, as the specification says, whatever their names are.
	route(t, ns, ns, "z-older", `[{matches: [{path: {type: Exact, value: /same}}], backendRefs: [{name: blue, port: 80}]}]`)
	awaitCondition(t, "HTTPRoute", ns, "z-older", "Accepted", meta.ConditionTrue)
	// Creation times have seconds.
	second := time.Now().Truncate(time.Second).Add(time.Second)
	eventually(t, "the next second", func() error {
		if time.Now().Before(second) {
			return errNotYet
		}
		return nil
	})
	route(t, ns, ns, "a-younger", `[{matches: [{path: {type: Exact, value: /same}}], backendRefs: [{name: green, port: 80}]}]`)
	awaitCondition(t, "HTTPRoute", ns, "a-younger", "Accepted", meta.ConditionTrue)
	url := awaitGateway(t, ns, "gw", 80)
	for range 20 {
		got, err := post(url, "/same", chat("any"))
		if err != nil || got.upstream() != "blue" && got.status != http.StatusNotFound {
			t.Fatalf("the younger route won: %v %+v", err, got)
		}
	}
	check()
}

func TestARouteThatShadowsAnotherTenants(t *testing.T) {
	ns, check := bystander(t)
	tenant := namespace(t)
	apply(t, tenant, manifest(t, "upstream.yaml", map[string]any{"name": "thief", "id": "thief", "replicas": 1, "linger": 0}))
	awaitReady(t, tenant, "thief")
	route(t, tenant, ns, "shadow", `
    - matches: [{headers: [{name: x-colour, value: blue}]}]
      backendRefs: [{name: thief, port: 80}]`)
	awaitRefusal(t, "HTTPRoute", tenant, "shadow", "Accepted", "Shadowed", ns+"/bystander")
	url := awaitGateway(t, ns, "gw", 80)
	for range 50 {
		got, err := ask(url, "any", withHeader("x-colour", "blue"))
		if err != nil || got.upstream() != "blue" {
			t.Fatalf("another tenant's route took the request: %v %+v", err, got)
		}
	}
	check()
}

func TestSecretsOfAnotherNamespace(t *testing.T) {
	ns, check := bystander(t)
	other := namespace(t)
	apply(t, other, "apiVersion: v1\nkind: Secret\nmetadata: {name: tls}\ntype: kubernetes.io/tls\nstringData: {tls.crt: a, tls.key: b}\n")
	apply(t, ns, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: thief
spec:
  gatewayClassName: penstock
  listeners:
    - name: https
      protocol: HTTPS
      port: 443
      tls: {certificateRefs: [{name: tls, namespace: %s}]}`, other))
	awaitRefusal(t, "Gateway", ns, "thief", "ResolvedRefs", "RefNotPermitted")
	check()
}

func TestReferencesThatGoInCircles(t *testing.T) {
	ns, check := bystander(t)
	// A Backend that names the gateway's own service, and a pool whose picker is the pool's own pods.
	apply(t, ns, fmt.Sprintf(`
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: circle}
spec:
  endpoints: [{fqdn: {hostname: %s.%s.svc.cluster.local, port: 80}}]`, dataPlane(t, ns, "gw"), ns))
	apply(t, ns, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: circle}
spec:
  parentRefs: [{name: gw}]
  rules:
    - matches: [{path: {type: PathPrefix, value: /circle}}]
      backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: circle}]
    - matches: [{path: {type: PathPrefix, value: /self}}]
      backendRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: circle}]`)
	awaitRefusal(t, "HTTPRoute", ns, "circle", "ResolvedRefs", "HTTPRoute")
	url := awaitGateway(t, ns, "gw", 80)
	// Nothing ends it but the gateways: each takes what the one before sends on.
	awaitPost(t, url, "/circle", string(chat("any")), http.StatusLoopDetected)
	check()
}
