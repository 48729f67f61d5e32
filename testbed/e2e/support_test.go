package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"text/template"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// patience bounds how long something may take that happens in a second on an idle machine. It is no claim on speed.
const patience = 90 * time.Second

func newReader(text string) io.Reader { return strings.NewReader(text) }

// eventually asks again until it is told no error.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// namespace makes one for this test, which goes with it.
func namespace(t *testing.T) string {
	t.Helper()
	object := &core.Namespace{ObjectMeta: meta.ObjectMeta{GenerateName: "e2e-"}}
	created, err := env.client.CoreV1().Namespaces().Create(context.Background(), object, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			dump(t, created.Name)
		}
		_ = env.client.CoreV1().Namespaces().Delete(context.Background(), created.Name, meta.DeleteOptions{})
	})
	return created.Name
}

// dump shows what a person would look at first.
func dump(t *testing.T, namespace string) {
	t.Helper()
	for _, args := range [][]string{
		{"-n", namespace, "get", "pods,services,endpointslices,configmaps", "-o", "wide"},
		{"-n", namespace, "get", "gateways,httproutes,inferencepools,aigatewayroutes", "-o", "yaml"},
		{"-n", namespace, "get", "configmaps", "-l", "app.kubernetes.io/managed-by=penstock-operator", "-o", "yaml"},
		{"-n", releaseNamespace, "logs", "-l", "app.kubernetes.io/name=penstock-operator", "--tail", "200", "--prefix"},
	} {
		out, _ := env.kubectl("", args...)
		t.Logf("kubectl %s\n%s", strings.Join(args, " "), out)
	}
	for _, pod := range pods(t, namespace, "app.kubernetes.io/name=penstock") {
		logs, _ := env.kubectl("", "-n", namespace, "logs", pod.Name)
		t.Logf("what %s says, its requests left out\n%s", pod.Name, strings.Join(withoutRequests(logs), "\n"))
		answer := "no answer"
		if got, err := fetch(fmt.Sprintf("http://%s:%d/readyz", pod.Status.PodIP, adminPort)); err == nil {
			answer = got.body
		}
		t.Logf("%s runs %s", pod.Name, answer)
	}
	if text := os.Getenv("E2E_HOLD"); text != "" {
		hold, err := time.ParseDuration(text)
		if err != nil {
			t.Errorf("E2E_HOLD is for how long the cluster stays as it is, such as 5m: %v", err)
			return
		}
		fmt.Printf("namespace %s of cluster %s stays as it is for %s; `testbed/cluster.sh down %[2]s` if the test is killed\n", namespace, env.Name, hold)
		time.Sleep(hold)
	}
}

// withoutRequests leaves the access log out of a data plane's output.
func withoutRequests(logs string) []string {
	lines := strings.Split(logs, "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, `"request_id"`) })
}

// apply applies YAML text, to a namespace unless each object names its own.
func apply(t *testing.T, namespace, yaml string) {
	t.Helper()
	if out, err := tryApply(namespace, yaml); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func tryApply(namespace, yaml string) (string, error) {
	args := []string{"apply", "--server-side", "--force-conflicts", "-f", "-"}
	if namespace != "" {
		args = append(args, "--namespace", namespace)
	}
	return env.kubectl(yaml, args...)
}

// manifest renders a template of manifests/.
func manifest(t *testing.T, name string, values any) string {
	t.Helper()
	text, err := os.ReadFile("manifests/" + name)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := template.New(name).Option("missingkey=error").Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, values); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var kinds = map[string]schema.GroupVersionResource{
	"Gateway":              {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	"GatewayClass":         {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"},
	"HTTPRoute":            {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	"InferencePool":        {Group: "inference.networking.k8s.io", Version: "v1", Resource: "inferencepools"},
	"InferenceObjective":   {Group: "inference.networking.x-k8s.io", Version: "v1alpha2", Resource: "inferenceobjectives"},
	"AIGatewayRoute":       {Group: "aigateway.envoyproxy.io", Version: "v1alpha1", Resource: "aigatewayroutes"},
	"Backend":              {Group: "gateway.envoyproxy.io", Version: "v1alpha1", Resource: "backends"},
	"SecurityPolicy":       {Group: "gateway.envoyproxy.io", Version: "v1alpha1", Resource: "securitypolicies"},
	"BackendTrafficPolicy": {Group: "gateway.envoyproxy.io", Version: "v1alpha1", Resource: "backendtrafficpolicies"},

	"BackendSecurityPolicy": {Group: "aigateway.envoyproxy.io", Version: "v1beta1", Resource: "backendsecuritypolicies"},
}

func get(kind, namespace, name string) (*unstructured.Unstructured, error) {
	return env.dynamic.Resource(kinds[kind]).Namespace(namespace).Get(context.Background(), name, meta.GetOptions{})
}

// conditions collects the conditions of an object: of its own status, of its parents, ancestors and listeners.
func conditions(object *unstructured.Unstructured) []meta.Condition {
	var all []meta.Condition
	var walk func(any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, inner := range value {
				if key != "conditions" {
					walk(inner)
					continue
				}
				data, _ := json.Marshal(inner)
				var found []meta.Condition
				_ = json.Unmarshal(data, &found)
				all = append(all, found...)
			}
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		}
	}
	walk(object.Object["status"])
	return all
}

// awaitCondition waits until an object of that generation has a condition, and returns it.
func awaitCondition(t *testing.T, kind, namespace, name, condition string, status meta.ConditionStatus) meta.Condition {
	t.Helper()
	var found meta.Condition
	eventually(t, fmt.Sprintf("%s %s/%s: condition %s=%s", kind, namespace, name, condition, status), func() error {
		object, err := get(kind, namespace, name)
		if err != nil {
			return err
		}
		all := conditions(object)
		for _, c := range all {
			if c.Type == condition && c.Status == status && c.ObservedGeneration == object.GetGeneration() {
				found = c
				return nil
			}
		}
		return fmt.Errorf("generation %d has %s", object.GetGeneration(), show(all))
	})
	return found
}

func show(all []meta.Condition) string {
	var parts []string
	for _, c := range all {
		parts = append(parts, fmt.Sprintf("%s=%s (%s: %s, generation %d)", c.Type, c.Status, c.Reason, c.Message, c.ObservedGeneration))
	}
	return strings.Join(parts, "; ")
}

// awaitRefusal waits until a condition of that type is false and says all of these words.
func awaitRefusal(t *testing.T, kind, namespace, name, condition string, words ...string) {
	t.Helper()
	c := awaitCondition(t, kind, namespace, name, condition, meta.ConditionFalse)
	for _, word := range words {
		if !strings.Contains(strings.ToLower(c.Reason+" "+c.Message), strings.ToLower(word)) {
			t.Errorf("%s %s: %s is false because of %q (%s): that does not say %q", kind, name, condition, c.Message, c.Reason, word)
		}
	}
}

// awaitReady waits until a deployment has all of its replicas ready and none of an older revision.
func awaitReady(t *testing.T, namespace, deployment string) {
	t.Helper()
	eventually(t, "deployment "+namespace+"/"+deployment, func() error {
		d, err := env.client.AppsV1().Deployments(namespace).Get(context.Background(), deployment, meta.GetOptions{})
		if err != nil {
			return err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != *d.Spec.Replicas || s.ReadyReplicas != *d.Spec.Replicas || s.Replicas != *d.Spec.Replicas {
			return fmt.Errorf("%d updated and %d ready of %d (%d exist)", s.UpdatedReplicas, s.ReadyReplicas, *d.Spec.Replicas, s.Replicas)
		}
		return nil
	})
}

// pods lists pods by label, those that are on their way out included.
func pods(t *testing.T, namespace, selector string) []core.Pod {
	t.Helper()
	list, err := env.client.CoreV1().Pods(namespace).List(context.Background(), meta.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// restart does what `kubectl rollout restart` does and waits for the end of it.
func restart(t *testing.T, namespace, deployment string) {
	t.Helper()
	if out, err := env.kubectl("", "-n", namespace, "rollout", "restart", "deployment/"+deployment); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	awaitReady(t, namespace, deployment)
}

var errNotYet = errors.New("not yet")
