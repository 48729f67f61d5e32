package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAPodThatLeavesIsNotPickedAgain(t *testing.T) {
	ns := namespace(t)
	// The pod goes on serving for ten seconds after its deletion, so that a request which it got would be answered.
	apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": "up", "id": "", "replicas": 3, "linger": 10}))
	apply(t, ns, manifest(t, "pool.yaml", map[string]any{"name": "up"}))
	apply(t, ns, manifest(t, "gateway.yaml", map[string]any{"replicas": 2, "from": "Same"}))
	route(t, ns, ns, "all", `[{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: up}]}]`)
	awaitReady(t, ns, "up")
	url := awaitGateway(t, ns, "gw", 80)
	awaitAnswer(t, url, "any", http.StatusOK)

	leaving := pods(t, ns, "app=up")[0]
	eventually(t, "the pod takes part", func() error {
		if !knows(t, ns, "gw", leaving.Status.PodIP) {
			return errNotYet
		}
		return nil
	})
	if err := env.client.CoreV1().Pods(ns).Delete(context.Background(), leaving.Name, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	eventually(t, "no replica knows the pod", func() error {
		if knows(t, ns, "gw", leaving.Status.PodIP) {
			return errNotYet
		}
		return nil
	})
	t.Logf("FIGURE a pod's deletion reached every replica after %d ms", time.Since(begin).Milliseconds())
	for range 300 {
		got, err := ask(url, "any")
		if err != nil || got.status != http.StatusOK {
			t.Fatalf("%v %+v", err, got)
		}
		if got.upstream() == leaving.Name {
			t.Fatalf("%s was picked after its deletion was seen", leaving.Name)
		}
	}
	if _, err := env.client.CoreV1().Pods(ns).Get(context.Background(), leaving.Name, meta.GetOptions{}); err != nil {
		t.Errorf("the pod was gone before the requests were sent, so they prove nothing: %v", err)
	}
}

func TestAnAddressThatComesBackIsAnotherPools(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, manifest(t, "gateway.yaml", map[string]any{"replicas": 2, "from": "Same"}))
	rules := ""
	for _, name := range []string{"aa", "bb"} {
		apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": name, "id": name, "replicas": 2, "linger": 3}))
		apply(t, ns, manifest(t, "pool.yaml", map[string]any{"name": name}))
		rules += fmt.Sprintf(`
    - matches: [{headers: [{name: x-pool, value: %[1]s}]}]
      backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: %[1]s}]`, name)
	}
	route(t, ns, ns, "pools", rules)
	url := awaitGateway(t, ns, "gw", 80)
	for _, name := range []string{"aa", "bb"} {
		awaitReady(t, ns, name)
		awaitAnswer(t, url, "any", http.StatusOK, withHeader("x-pool", name))
	}
	send := func(pool string) func() (*answer, error) {
		return func() (*answer, error) {
			got, err := ask(url, "any", withHeader("x-pool", pool))
			if err == nil && got.status == http.StatusOK && got.upstream() != pool {
				return nil, fmt.Errorf("a request for pool %s was answered by pool %s", pool, got.upstream())
			}
			return got, err
		}
	}
	loads := []*load{startLoad("an address changes pools (aa)", send("aa"), false), startLoad("an address changes pools (bb)", send("bb"), false)}
	reused := 0
	for round := range 6 {
		shrinking, growing := "aa", "bb"
		if round%2 == 1 {
			shrinking, growing = growing, shrinking
		}
		before := addresses(t, ns, shrinking)
		// The one goes first, so that its address is free for the other.
		scale(t, ns, shrinking, 1)
		eventually(t, "the pod is gone", func() error {
			if len(pods(t, ns, "app="+shrinking)) != 1 {
				return errNotYet
			}
			return nil
		})
		scale(t, ns, growing, 3)
		awaitReady(t, ns, growing)
		for address := range addresses(t, ns, growing) {
			if before[address] {
				reused++
			}
		}
		loads[0].progress(t, 100)
		loads[1].progress(t, 100)
		scale(t, ns, growing, 2)
		scale(t, ns, shrinking, 2)
		awaitReady(t, ns, growing)
		awaitReady(t, ns, shrinking)
	}
	for _, l := range loads {
		l.end(t, 0)
	}
	if reused == 0 {
		t.Error("no address came back, so this proves nothing")
	}
	t.Logf("FIGURE %d addresses came back as the other pool's", reused)
}

func scale(t *testing.T, ns, deployment string, replicas int) {
	t.Helper()
	if out, err := env.kubectl("", "-n", ns, "scale", "deployment/"+deployment, fmt.Sprintf("--replicas=%d", replicas)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func addresses(t *testing.T, ns, app string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, pod := range pods(t, ns, "app="+app) {
		if strings.TrimSpace(pod.Status.PodIP) != "" {
			all[pod.Status.PodIP] = true
		}
	}
	return all
}
