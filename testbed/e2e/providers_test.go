package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The examples of Envoy AI Gateway for providers, as they are published: testbed/examples.sh. The names of the providers
// lead to a simulator, which takes the placeholders for keys and clients that the examples have, and no others.

// providerCase is a request to one of the examples, as its page has it.
type providerCase struct {
	// name is the example's file in examples/basic.
	name string
	// path and body are the client's.
	path, body string
	// model is what the simulator is asked for.
	model string
	// upstream is where the request goes, and header what it shows there, up to what changes each time.
	upstream, header, value string
}

const hello = `{"model": %q, "messages": [{"role": "user", "content": "Hi."}]}`

var providerCases = []providerCase{
	{
		"openai", "/v1/chat/completions", fmt.Sprintf(hello, "gpt-4o-mini"), "gpt-4o-mini",
		"api.openai.com/v1/chat/completions", "authorization", "Bearer OPENAI_API_KEY",
	},
	{
		"anthropic", "/v1/chat/completions", fmt.Sprintf(hello, "claude-sonnet-4-5"), "claude-sonnet-4-5",
		"api.anthropic.com/v1/messages", "x-api-key", "ANTHROPIC_API_KEY",
	},
	{
		"aws", "/v1/chat/completions", fmt.Sprintf(hello, "us.meta.llama3-2-1b-instruct-v1:0"), "us.meta.llama3-2-1b-instruct-v1:0",
		"bedrock-runtime.us-east-1.amazonaws.com/model/us.meta.llama3-2-1b-instruct-v1%3A0/converse",
		"authorization", "AWS4-HMAC-SHA256 Credential=AWS_ACCESS_KEY_ID/",
	},
	{
		"azure_openai", "/v1/chat/completions", fmt.Sprintf(hello, "gpt-4.5-preview"), "gpt-4.5-preview",
		"dummy-azure-resource.openai.azure.com/openai/deployments/gpt-4.5-preview/chat/completions?api-version=2025-01-01-preview",
		"authorization", "Bearer ",
	},
	{
		"gcp_vertex", "/v1/chat/completions", fmt.Sprintf(hello, "gemini-2.5-flash"), "gemini-2.5-flash",
		"us-central1-aiplatform.googleapis.com/v1/projects/models/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent",
		"authorization", "Bearer ",
	},
}

// bedrocksClaude is the second model of the example for AWS.
var bedrocksClaude = providerCase{
	"aws", "/v1/chat/completions", fmt.Sprintf(hello, "anthropic.claude-3-5-sonnet-20241022-v2:0"), "anthropic.claude-3-5-sonnet-20241022-v2:0",
	"bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke",
	"authorization", "AWS4-HMAC-SHA256 Credential=AWS_ACCESS_KEY_ID/",
}

func TestEnvoyAIGatewaysExamplesForProviders(t *testing.T) {
	const ns, gateway = "default", "envoy-ai-gateway-basic"
	folder := filepath.Join(examples(t), "basic")
	outside := startOutside(t, ns)
	files := []string{"basic"}
	for _, c := range providerCases {
		files = append(files, c.name)
	}
	applyExamples(t, ns, folder, files)
	awaitReady(t, ns, "envoy-ai-gateway-basic-testupstream")
	url := awaitGateway(t, ns, gateway, 80)
	expectChat(t, awaitAnswer(t, url, "some-cool-self-hosted-model", http.StatusOK))

	google(t, ns, url, outside)
	for _, c := range append(providerCases, bedrocksClaude) {
		t.Run(c.name+"/"+c.model, func(t *testing.T) {
			outside.forget(t)
			got := awaitPost(t, url, c.path, c.body, http.StatusOK)
			expectChat(t, got)
			outside.expect(t, c)
		})
	}
	for _, policy := range []string{"openai-apikey", "anthropic-apikey", "aws-credentials", "azure-credentials", "gcp-credentials"} {
		awaitCondition(t, "BackendSecurityPolicy", ns, "envoy-ai-gateway-basic-"+policy, "Accepted", meta.ConditionTrue)
	}
	if outside.saw(func(r seenRequest) bool { return strings.Contains(fmt.Sprint(r.Headers), "the-clients-own") }) {
		t.Error("a client's own credential left the gateway")
	}
}

// google replaces what the example for Google Cloud wants replaced, and sees that nothing is sent before that is right.
func google(t *testing.T, ns, url string, outside *outside) {
	t.Helper()
	const policy, secret = "envoy-ai-gateway-basic-gcp-credentials", "envoy-ai-gateway-basic-gcp-service-account-key-file"
	const model = "gemini-2.5-flash"
	awaitRefusal(t, "BackendSecurityPolicy", ns, policy, "Accepted", "service_account.json")
	awaitAnswer(t, url, model, http.StatusInternalServerError)

	place := `{"spec": {"gcpCredentials": {"projectName": "models", "region": "us-central1"}}}`
	if out, err := env.kubectl("", "-n", ns, "patch", "backendsecuritypolicies.aigateway.envoyproxy.io", policy, "--type=merge", "-p", place); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	apply(t, ns, googleKey(t, secret, rsaKey(t)))
	awaitCondition(t, "BackendSecurityPolicy", ns, policy, "Accepted", meta.ConditionTrue)
	awaitRefusal(t, "BackendSecurityPolicy", ns, policy, "penstock.dev/CredentialAvailable", "invalid_grant")
	apply(t, ns, googleKey(t, secret, outside.google))
	awaitAnswer(t, url, model, http.StatusOK)
	eventually(t, "the policy's credential is available", func() error {
		object, err := get("BackendSecurityPolicy", ns, policy)
		if err != nil {
			return err
		}
		for _, c := range conditions(object) {
			if c.Type == "penstock.dev/CredentialAvailable" {
				return fmt.Errorf("still %s: %s", c.Status, c.Message)
			}
		}
		return nil
	})
}

func TestEnvoyAIGatewaysExampleOfAFallback(t *testing.T) {
	const ns, gateway = "default", "provider-fallback"
	outside := startOutside(t, ns)
	applyExamples(t, ns, filepath.Join(examples(t), "provider_fallback"), []string{"base", "fallback"})
	awaitReady(t, ns, "provider-fallback-always-failing-upstream")
	url := awaitGateway(t, ns, gateway, 80)
	bedrock := providerCases[slices.IndexFunc(providerCases, func(c providerCase) bool { return c.name == "aws" })]
	awaitPost(t, url, bedrock.path, bedrock.body, http.StatusOK)
	outside.forget(t)
	for range 20 {
		got, err := post(url, bedrock.path, []byte(bedrock.body))
		if err != nil || got.status != http.StatusOK {
			t.Fatalf("the first backend does not speak TLS, and the second was to answer: %v %+v", err, got)
		}
		expectChat(t, got)
	}
	outside.expect(t, bedrock)
}

// examples is the folder of the published examples.
func examples(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(repo("testbed/examples.sh")).Output()
	if err != nil {
		t.Fatalf("examples.sh: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// applyExamples applies files of a folder as they are, and takes their objects away when the test ends.
func applyExamples(t *testing.T, ns, folder string, files []string) {
	t.Helper()
	args := []string{"apply", "--namespace", ns}
	for _, file := range files {
		args = append(args, "-f", filepath.Join(folder, file+".yaml"))
	}
	t.Cleanup(func() {
		if t.Failed() {
			dump(t, ns)
		}
		args[0] = "delete"
		if out, err := env.kubectl("", append(args, "--wait=false", "--ignore-not-found")...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		eventually(t, "the examples' pods are gone", func() error {
			if len(pods(t, ns, "")) > 0 {
				return errNotYet
			}
			return nil
		})
	})
	if out, err := env.kubectl("", args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// awaitPost sends a request until its answer has this status, and returns the answer. The client shows a key of its own,
// which no provider may see.
func awaitPost(t *testing.T, url, path, body string, status int) *answer {
	t.Helper()
	var got *answer
	eventually(t, fmt.Sprintf("an answer %d", status), func() error {
		var err error
		got, err = post(url, path, []byte(body), withHeader("authorization", "Bearer the-clients-own"), withHeader("x-api-key", "the-clients-own"))
		if err == nil && got.status != status {
			err = fmt.Errorf("status %d: %.300s", got.status, got.body)
		}
		return err
	})
	return got
}

// seenRequest is what the simulator remembers of a request.
type seenRequest struct {
	Method  string      `json:"method"`
	Path    string      `json:"path"`
	Headers [][2]string `json:"headers"`
}

func (r seenRequest) header(name string) string {
	for _, pair := range r.Headers {
		if strings.EqualFold(pair[0], name) {
			return pair[1]
		}
	}
	return ""
}

// expect checks the last request for a model: where it went, and what it showed. The simulator has checked the rest:
// signatures, tokens, and the form of the body.
func (o *outside) expect(t *testing.T, c providerCase) {
	t.Helper()
	seen := o.requests(t)
	var all []string
	for _, r := range slices.Backward(seen) {
		where := r.header("host") + r.Path
		all = append(all, where)
		if where != c.upstream {
			continue
		}
		if got := r.header(c.header); !strings.HasPrefix(got, c.value) || got == strings.TrimSpace(c.value) && strings.HasSuffix(c.value, " ") {
			t.Errorf("%s shows %s: %q, expected %q", where, c.header, got, c.value)
		}
		return
	}
	t.Errorf("nothing went to %s, but to %q", c.upstream, all)
}

// saw tells whether a request was like that, ever.
func (o *outside) saw(is func(seenRequest) bool) bool { return slices.ContainsFunc(o.all, is) }

// requests are those since the last time they were forgotten.
func (o *outside) requests(t *testing.T) []seenRequest {
	t.Helper()
	response, err := o.client.Get(o.url(t) + "/sim/requests")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var seen []seenRequest
	if err := json.NewDecoder(response.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	o.all = append(o.all, seen...)
	return seen
}

func (o *outside) forget(t *testing.T) {
	t.Helper()
	o.requests(t)
	request, err := http.NewRequestWithContext(context.Background(), http.MethodDelete, o.url(t)+"/sim/requests", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := o.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}
