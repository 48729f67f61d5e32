package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const walkthroughGateway = "inference-pool-with-aigwroute"

// The walkthrough's own files as they are published, from the folder that PENSTOCK_WALKTHROUGH names.
func TestTheWalkthroughsManifestsAsTheyAre(t *testing.T) {
	folder := os.Getenv("PENSTOCK_WALKTHROUGH")
	if folder == "" {
		t.Skip("PENSTOCK_WALKTHROUGH is not set; examples/walkthrough is tested all the same")
	}
	published, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// Envoy Gateway's values files are for another chart.
	var files []string
	for _, file := range published {
		if base := filepath.Base(file); base != "envoy-gateway-values.yaml" && base != "envoy-gateway-values-addon.yaml" {
			files = append(files, file)
		}
	}
	if len(files) == 0 {
		t.Fatalf("PENSTOCK_WALKTHROUGH: %s has no manifests", folder)
	}
	walkthrough(t, files)
}

func TestTheWalkthroughOfTheExamples(t *testing.T) {
	files, err := filepath.Glob(repo("examples/walkthrough/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("examples/walkthrough has no manifests (%v)", err)
	}
	walkthrough(t, files)
}

func walkthrough(t *testing.T, files []string) {
	t.Helper()
	const ns = "default"
	nodePort, err := os.ReadFile("manifests/nodeport-config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, "", string(nodePort))
	args := []string{"apply"}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	if out, err := env.kubectl("", args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			dump(t, ns)
		}
		args[0] = "delete"
		if out, err := env.kubectl("", append(args, "--wait=false", "--ignore-not-found")...); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		// The same names come again in the next test.
		eventually(t, "the walkthrough's pods are gone", func() error {
			if len(pods(t, ns, "")) > 0 {
				return errNotYet
			}
			return nil
		})
	})

	for _, deployment := range []string{"vllm-llama3-8b-instruct", "mistral-upstream", "envoy-ai-gateway-basic-testupstream",
		"vllm-llama3-8b-instruct-epp", "mistral-epp"} {
		awaitReady(t, ns, deployment)
	}
	url := awaitGateway(t, ns, walkthroughGateway, 80)
	awaitCondition(t, "AIGatewayRoute", ns, walkthroughGateway, "Accepted", meta.ConditionTrue)
	for _, pool := range []string{"vllm-llama3-8b-instruct", "mistral"} {
		awaitCondition(t, "InferencePool", ns, pool, "Accepted", meta.ConditionTrue)
		awaitCondition(t, "InferencePool", ns, pool, "ResolvedRefs", meta.ConditionTrue)
	}
	for _, objective := range []string{"food-review", "base-model", "base-model-cpu", "mistral"} {
		awaitCondition(t, "InferenceObjective", ns, objective, "Accepted", meta.ConditionTrue)
	}

	// The three requests of the walkthrough.
	for _, model := range []string{"meta-llama/Llama-3.1-8B-Instruct", "mistral:latest", "some-cool-self-hosted-model"} {
		expectChat(t, awaitAnswer(t, url, model, http.StatusOK))
	}
	awaitAnswer(t, url, "a-model-that-nobody-has", http.StatusNotFound)

	// And what a reader who looks around would find: the pods really are three, and all take part.
	services, err := env.client.CoreV1().Services(ns).List(context.Background(), meta.ListOptions{LabelSelector: gatewayLabel + "=" + walkthroughGateway})
	if err != nil || len(services.Items) != 1 || services.Items[0].Spec.Type != "NodePort" {
		t.Errorf("the EnvoyProxy asks for a NodePort service: %d services (%v)", len(services.Items), err)
	}
}
