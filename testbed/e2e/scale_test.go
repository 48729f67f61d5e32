package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// The size of the cluster that the operator is measured on; E2E_SCALE is its part of it: 1 is 2,000 routes over 100
// pools of 10,000 pods. The pods are objects only: they are bound to a node that nobody runs.
const (
	scaleRoutes = 2000
	scalePools  = 100
	scalePods   = 10000
	hollow      = "hollow"
	// scaleSamples is how many pods come and go for the propagation time.
	scaleSamples = 100
	scaleWriters = 32
)

func TestScale(t *testing.T) {
	part, err := strconv.ParseFloat(os.Getenv("E2E_SCALE"), 64)
	if err != nil {
		t.Skip("E2E_SCALE is not set; E2E_SCALE=1 measures the operator with 10,000 pods, which takes ten minutes")
	}
	routes, pools, podCount := int(scaleRoutes*part), int(scalePools*part), int(scalePods*part)
	ns, _ := colours(t, "Same")
	hollowNode(t)
	begin := time.Now()
	parallel(t, pools, func(n int) error {
		_, err := tryApply(ns, manifest(t, "pool.yaml", map[string]any{"name": fmt.Sprintf("pool-%d", n)}))
		return err
	})
	names := make([]string, podCount)
	parallel(t, podCount, func(n int) error {
		names[n] = fmt.Sprintf("pod-%d", n)
		return hollowPod(ns, names[n], fmt.Sprintf("pool-%d", n%pools), fmt.Sprintf("10.99.%d.%d", n/250, 1+n%250))
	})
	parallel(t, (routes+99)/100, func(n int) error {
		var all strings.Builder
		for r := n * 100; r < min((n+1)*100, routes); r++ {
			rules := fmt.Sprintf(`[{matches: [{path: {type: PathPrefix, value: /r%d}}], backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: pool-%d}]}]`, r, r%pools)
			all.WriteString("---\n" + manifest(t, "route.yaml", map[string]any{"name": fmt.Sprintf("route-%d", r), "gateway": ns, "rules": rules}))
		}
		_, err := tryApply(ns, all.String())
		return err
	})
	t.Logf("FIGURE %d routes, %d pools and %d pods were created in %.0f s", routes, pools, podCount, time.Since(begin).Seconds())
	awaitCondition(t, "HTTPRoute", ns, fmt.Sprintf("route-%d", routes-1), "Accepted", meta.ConditionTrue)
	samplePropagation(t, ns, names, pools)
	sampleOperator(t)
}

// hollowNode registers a node that has nobody behind it.
func hollowNode(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	nodes := env.client.CoreV1().Nodes()
	if _, err := nodes.Create(ctx, &core.Node{ObjectMeta: meta.ObjectMeta{Name: hollow}}, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	// A patch, since controllers write to a new node at once.
	status := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","lastHeartbeatTime":%q}]}}`, time.Now().UTC().Format(time.RFC3339))
	if _, err := nodes.Patch(ctx, hollow, types.StrategicMergePatchType, []byte(status), meta.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nodes.Delete(ctx, hollow, meta.DeleteOptions{}) })
}

func hollowPod(ns, name, app, ip string) error {
	ctx, zero := context.Background(), int64(0)
	no := false
	pod := &core.Pod{
		ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{"app": app}},
		Spec: core.PodSpec{
			NodeName: hollow, TerminationGracePeriodSeconds: &zero, AutomountServiceAccountToken: &no,
			Containers: []core.Container{{Name: "hollow", Image: "hollow"}},
		},
	}
	if _, err := env.client.CoreV1().Pods(ns).Create(ctx, pod, meta.CreateOptions{}); err != nil {
		return err
	}
	patch := fmt.Sprintf(`{"status":{"phase":"Running","podIP":%[1]q,"podIPs":[{"ip":%[1]q}],"conditions":[{"type":"Ready","status":"True"}]}}`, ip)
	_, err := env.client.CoreV1().Pods(ns).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), meta.PatchOptions{}, "status")
	return err
}

func parallel(t *testing.T, count int, do func(int) error) {
	t.Helper()
	var all sync.WaitGroup
	var next atomic.Int64
	for range scaleWriters {
		all.Go(func() {
			for n := int(next.Add(1)) - 1; n < count; n = int(next.Add(1)) - 1 {
				if err := do(n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// samplePropagation turns pods unready and ready again, one at a time, and measures until the lists of endpoints in
// the published ConfigMaps say so, and until every data plane does.
func samplePropagation(t *testing.T, ns string, names []string, pools int) {
	t.Helper()
	published := watchEndpoints(t, ns)
	eventually(t, "every pod is published", func() error {
		if known := published.size(); known < len(names) {
			return fmt.Errorf("%d of %d", known, len(names))
		}
		return nil
	})
	planes := running(t, ns, "gw")
	var lists, everywhere []time.Duration
	for sample := range scaleSamples {
		// Of another pool each time.
		number := (sample*len(names)/scaleSamples + sample) % len(names)
		name := names[number]
		pod, err := env.client.CoreV1().Pods(ns).Get(context.Background(), name, meta.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, ready := range []bool{false, true} {
			status := core.ConditionFalse
			if ready {
				status = core.ConditionTrue
			}
			patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":%q}]}}`, status)
			begin := time.Now()
			if _, err := env.client.CoreV1().Pods(ns).Patch(context.Background(), name, types.StrategicMergePatchType, []byte(patch), meta.PatchOptions{}, "status"); err != nil {
				t.Fatal(err)
			}
			lists = append(lists, published.await(t, pod.Status.PodIP, ready).Sub(begin))
			for _, plane := range planes {
				awaitPickable(t, plane, number%pools, pod.Status.PodIP, ready)
			}
			everywhere = append(everywhere, time.Since(begin))
		}
	}
	for what, took := range map[string][]time.Duration{"published": lists, fmt.Sprintf("known to %d data planes", len(planes)): everywhere} {
		slices.Sort(took)
		t.Logf("FIGURE a pod's readiness was %s after p50 %d ms, p99 %d ms, at most %d ms (%d samples)", what, took[len(took)/2].Milliseconds(),
			took[len(took)*99/100].Milliseconds(), took[len(took)-1].Milliseconds(), len(took))
	}
}

// awaitPickable waits until a data plane would choose among endpoints with, or without, this one.
func awaitPickable(t *testing.T, plane core.Pod, pool int, ip string, present bool) {
	t.Helper()
	admin, err := debug(t, plane)
	if err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/debug/pick?path=/r%d", pool)
	deadline := time.Now().Add(patience)
	for {
		got, err := post(admin, path, chat("any"))
		if err != nil || got.status != 200 {
			t.Fatalf("%s%s: %v %+v", admin, path, err, got)
		}
		if strings.Contains(got.body, `"`+ip+`:`) == present {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: pod %s: known is not %v within %s: %.300s", ip, plane.Name, present, patience, got.body)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// endpoints is what the published lists hold: by ConfigMap, the addresses in it.
type endpoints struct {
	mu     sync.Mutex
	shards map[string]string
	at     time.Time
}

func watchEndpoints(t *testing.T, ns string) *endpoints {
	t.Helper()
	e := &endpoints{shards: map[string]string{}}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	set := func(o any) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.at = time.Now()
		if shard, ok := o.(*core.ConfigMap); ok {
			e.shards[shard.Name] = shard.Data["endpoints.yaml"]
		}
	}
	source := cache.NewFilteredListWatchFromClient(env.client.CoreV1().RESTClient(), "configmaps", ns,
		func(o *meta.ListOptions) { o.LabelSelector = gatewayLabel + "=gw" })
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source,
		ObjectType:    &core.ConfigMap{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: set, UpdateFunc: func(_, o any) { set(o) }},
	})
	go controller.RunWithContext(ctx)
	return e
}

func (e *endpoints) size() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	count := 0
	for _, shard := range e.shards {
		count += strings.Count(shard, "address:")
	}
	return count
}

func (e *endpoints) await(t *testing.T, ip string, present bool) time.Time {
	t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		e.mu.Lock()
		found, at := false, e.at
		for _, shard := range e.shards {
			found = found || strings.Contains(shard, ip+":")
		}
		e.mu.Unlock()
		if found == present {
			return at
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("%s: published is not %v within %s", ip, present, patience)
	return time.Time{}
}

// idleSeconds is how long the operator is watched doing nothing.
const idleSeconds = 30

// sampleOperator reads what the operator's processes take.
func sampleOperator(t *testing.T) {
	t.Helper()
	for _, pod := range pods(t, releaseNamespace, "app.kubernetes.io/name=penstock-operator") {
		pid := strings.TrimPrefix(pod.Status.ContainerStatuses[0].ContainerID, "process://")
		before := cpuTicks(t, pid)
		time.Sleep(idleSeconds * time.Second)
		used := float64(cpuTicks(t, pid)-before) / 100 / idleSeconds
		t.Logf("FIGURE operator %s: %s resident, peak %s, %.2f %% of a core while idle", pod.Name,
			procStatus(t, pid, "VmRSS"), procStatus(t, pid, "VmHWM"), 100*used)
	}
}

func cpuTicks(t *testing.T, pid string) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	// After the command's name, which may hold blanks, user and system time are the 12th and 13th.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return user + system
}

func procStatus(t *testing.T, pid, key string) string {
	t.Helper()
	file, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), key+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}
