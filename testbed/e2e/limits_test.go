package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRateLimits applies Envoy AI Gateway's example of limits by tokens as it is published: each tenant, as a header names
// it, has ten tokens of prompts an hour, and more of others.
func TestRateLimits(t *testing.T) {
	const ns, gateway, model = "default", "envoy-ai-gateway-token-ratelimit", "rate-limit-funky-model"
	const policy = gateway + "-policy"
	applyExamples(t, ns, filepath.Join(examples(t), "token_ratelimit"), []string{"token_ratelimit"})
	awaitReady(t, ns, gateway+"-tesetupstream")
	url := awaitGateway(t, ns, gateway, 80)
	body := fmt.Sprintf(hello, model)
	const path = "/v1/chat/completions"

	first := awaitPost(t, url, path, body, http.StatusOK)
	expectChat(t, first)
	status := awaitCondition(t, "BackendTrafficPolicy", ns, policy, "Accepted", meta.ConditionTrue)
	for _, said := range []string{"requests without what is Distinct count together", "--limit-store"} {
		if !strings.Contains(status.Message, said) {
			t.Errorf("the policy's status does not say %q: %s", said, status.Message)
		}
	}

	// exhaust asks until the answer is 429, and tells how often it was served before.
	exhaust := func(options ...option) int {
		t.Helper()
		for served := range 50 {
			got, err := post(url, path, []byte(body), options...)
			if err != nil {
				t.Fatal(err)
			}
			switch got.status {
			case http.StatusOK:
			case http.StatusTooManyRequests:
				wait, err := strconv.Atoi(got.header.Get("retry-after"))
				if err != nil || wait < 1 || wait > 3600 {
					t.Errorf("retry-after %q is no time until the hour is over", got.header.Get("retry-after"))
				}
				if !strings.Contains(got.body, "`global-") {
					t.Errorf("the answer does not name the limit: %.300s", got.body)
				}
				return served
			default:
				t.Fatalf("status %d: %.300s", got.status, got.body)
			}
		}
		t.Fatal("50 requests were served: ten tokens are not that many")
		return 0
	}
	if served := exhaust(withHeader("x-tenant-id", "a")); served == 0 {
		t.Error("a tenant that had taken nothing was refused")
	}
	if got, err := post(url, path, []byte(body), withHeader("x-tenant-id", "b")); err != nil || got.status != http.StatusOK {
		t.Errorf("another tenant suffers: %v %+v", err, got)
	}
	// With Envoy, requests without the header are not counted.
	exhaust()
	if got, err := post(url, path, []byte(body), withHeader("x-tenant-id", "c")); err != nil || got.status != http.StatusOK {
		t.Errorf("a tenant suffers from those without a name: %v %+v", err, got)
	}
	keyless(t, ns, gateway, policy)
}

// keyless takes the key of a cost away that the policy's limits count: they would never be charged again, so the route
// closes.
func keyless(t *testing.T, ns, route, policy string) {
	t.Helper()
	patch := `{"spec": {"llmRequestCosts": [{"metadataKey": "llm_total_token", "type": "TotalToken"}]}}`
	if out, err := env.kubectl("", "-n", ns, "patch", "aigatewayroutes.aigateway.envoyproxy.io", route, "--type=merge", "-p", patch); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitRefusal(t, "BackendTrafficPolicy", ns, policy, "Accepted", "llm_input_token", "would never count")
	awaitCondition(t, "AIGatewayRoute", ns, route, "penstock.dev/Closed", meta.ConditionTrue)
}
