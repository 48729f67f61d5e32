package e2e

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// outage is how long the API server is away: long enough for every watch to notice, to try again and to back off.
const outage = time.Minute

// served is a Gateway with two replicas in front of a pool of three pods, with requests coming in.
func served(t *testing.T) (ns string, send func() (*answer, error)) {
	t.Helper()
	ns = namespace(t)
	apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": "up", "id": "", "replicas": 3, "linger": 0}))
	apply(t, ns, manifest(t, "pool.yaml", map[string]any{"name": "up"}))
	apply(t, ns, manifest(t, "gateway.yaml", map[string]any{"replicas": 2, "from": "Same"}))
	route(t, ns, ns, "all", `[{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: up}]}]`)
	awaitReady(t, ns, "up")
	url := awaitGateway(t, ns, "gw", 80)
	awaitAnswer(t, url, "any", http.StatusOK)
	// Both replicas have the endpoints before anything is counted.
	client.CloseIdleConnections()
	awaitAnswer(t, url, "any", http.StatusOK)
	return ns, func() (*answer, error) { return ask(url, "any") }
}

// healthy checks the statuses once a disturbance is over.
func healthy(t *testing.T, ns string) {
	t.Helper()
	awaitReady(t, ns, "up")
	awaitReady(t, ns, dataPlane(t, ns, "gw"))
	awaitCondition(t, "Gateway", ns, "gw", "Accepted", meta.ConditionTrue)
	awaitCondition(t, "Gateway", ns, "gw", "Programmed", meta.ConditionTrue)
	awaitCondition(t, "HTTPRoute", ns, "all", "Accepted", meta.ConditionTrue)
	awaitCondition(t, "HTTPRoute", ns, "all", "ResolvedRefs", meta.ConditionTrue)
	awaitCondition(t, "InferencePool", ns, "up", "Accepted", meta.ConditionTrue)
}

func TestRollingRestartOfAPool(t *testing.T) {
	ns, send := served(t)
	l := startLoad("rolling restart of a pool", send, false)
	l.progress(t, 200)
	restart(t, ns, "up")
	l.progress(t, 200)
	l.end(t, 0)
	healthy(t, ns)
}

func TestRollingRestartOfTheDataPlane(t *testing.T) {
	ns, send := served(t)
	l := startLoad("rolling restart of the data plane", send, false)
	l.progress(t, 200)
	restart(t, ns, dataPlane(t, ns, "gw"))
	l.progress(t, 200)
	l.end(t, 0)
	healthy(t, ns)
}

func TestRollingRestartOfTheOperator(t *testing.T) {
	ns, send := served(t)
	l := startLoad("rolling restart of the operator", send, false)
	l.progress(t, 200)
	restart(t, releaseNamespace, release)
	changeAndBack(t, ns)
	l.progress(t, 200)
	l.end(t, 0)
	healthy(t, ns)
}

// changeAndBack proves that a change of the pool still arrives: a fourth pod takes part, and goes.
func changeAndBack(t *testing.T, ns string) {
	t.Helper()
	for _, replicas := range []string{"4", "3"} {
		if out, err := env.kubectl("", "-n", ns, "scale", "deployment/up", "--replicas="+replicas); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		awaitReady(t, ns, "up")
		eventually(t, "the data plane has the pods that there are", func() error {
			for _, pod := range pods(t, ns, "app=up") {
				if pod.DeletionTimestamp == nil && !knows(t, ns, "gw", pod.Status.PodIP) {
					return errNotYet
				}
			}
			return nil
		})
	}
}

func TestKillOfAPoolsPod(t *testing.T) {
	ns, send := served(t)
	l := startLoad("kill -9 of a pool's pod", send, false)
	l.progress(t, 200)
	kill(t, pods(t, ns, "app=up")[0])
	l.progress(t, 400)
	l.end(t, 0)
	healthy(t, ns)
}

func TestKillOfADataPlane(t *testing.T) {
	ns, send := served(t)
	// What the dead process held is lost to anyone; a client that connects again must be served.
	l := startLoad("kill -9 of a data plane", send, true)
	l.progress(t, 200)
	kill(t, running(t, ns, "gw")[0])
	l.progress(t, 400)
	l.end(t, 0)
	healthy(t, ns)
}

func TestKillOfTheOperator(t *testing.T) {
	ns, send := served(t)
	l := startLoad("kill -9 of the operator", send, false)
	l.progress(t, 200)
	for _, pod := range pods(t, releaseNamespace, "app.kubernetes.io/name=penstock-operator") {
		kill(t, pod)
	}
	l.progress(t, 200)
	awaitReady(t, releaseNamespace, release)
	changeAndBack(t, ns)
	l.end(t, 0)
	healthy(t, ns)
}

func control(t *testing.T, path string, query url.Values) {
	t.Helper()
	if _, err := env.Control(context.Background(), http.MethodPost, path, query); err != nil {
		t.Fatal(err)
	}
}

func TestTheAPIServerIsAwayForAMinute(t *testing.T) {
	ns, send := served(t)
	dying := pods(t, ns, "app=up")[0]
	l := startLoad("API server away for a minute", send, false)
	l.progress(t, 200)
	control(t, "/components/kube-apiserver/stop", nil)
	// A container dies meanwhile, which nobody can be told. It comes back under its address.
	back := time.After(outage)
	kill(t, dying)
	l.progress(t, 200)
	<-back
	control(t, "/components/kube-apiserver/start", nil)
	// These two end with their Leases, which they do not have here, and come back with the API server. Without that,
	// they look again once a minute.
	for _, component := range []string{"kube-controller-manager", "kube-scheduler"} {
		control(t, "/components/"+component+"/kill", nil)
		control(t, "/components/"+component+"/start", nil)
	}
	changeAndBack(t, ns)
	l.progress(t, 200)
	l.end(t, 0)
	healthy(t, ns)
}

func TestEtcdIsRestored(t *testing.T) {
	ns, send := served(t)
	snapshot := url.Values{"file": {filepath.Join(t.TempDir(), "snapshot")}}
	control(t, "/snapshot", snapshot)
	// What comes after the snapshot is undone by the restore: a route and a pod.
	route(t, ns, ns, "later", weighted(1, 1))
	changeAndBack(t, ns)
	l := startLoad("etcd restored", send, false)
	l.progress(t, 200)
	control(t, "/restore", snapshot)
	l.progress(t, 200)
	changeAndBack(t, ns)
	l.end(t, 0)
	healthy(t, ns)
	if _, err := get("HTTPRoute", ns, "later"); err == nil {
		t.Error("the restore did not undo the route that came after the snapshot")
	}
}
