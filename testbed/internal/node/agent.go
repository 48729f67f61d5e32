// Package node is the node agent: it registers a Node, runs the Pods bound to it as processes of this machine, each Pod
// in a network namespace of its own, and reports their status. It does what Penstock's tests need of a kubelet and a
// container runtime; README.md lists what it leaves out.
package node

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"penstock.dev/testbed/internal/cluster"
)

// leasePeriod is how often a node says that it is alive; the default of a kubelet.
const leasePeriod = 10 * time.Second

// Agent is one node.
type Agent struct {
	*cluster.Instance
	Name   string
	IP     string
	Client kubernetes.Interface
	Images Images
	IPs    *Addresses

	mu   sync.Mutex
	pods map[types.UID]*podWorker
}

// Run registers the node and runs its pods until the context ends; then all of their processes are killed.
func (a *Agent) Run(ctx context.Context) error {
	a.pods = map[types.UID]*podWorker{}
	if err := a.register(ctx); err != nil {
		return fmt.Errorf("register node %s: %w", a.Name, err)
	}
	go a.heartbeat(ctx)
	selector := fields.OneTermEqualSelector("spec.nodeName", a.Name).String()
	source := cache.NewFilteredListWatchFromClient(a.Client.CoreV1().RESTClient(), "pods", meta.NamespaceAll,
		func(o *meta.ListOptions) { o.FieldSelector = selector })
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: source,
		ObjectType:    &core.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { a.see(ctx, o.(*core.Pod)) },
			UpdateFunc: func(_, o any) { a.see(ctx, o.(*core.Pod)) },
			DeleteFunc: a.forget,
		},
	})
	controller.RunWithContext(ctx)
	a.mu.Lock()
	workers := make([]*podWorker, 0, len(a.pods))
	for _, worker := range a.pods {
		workers = append(workers, worker)
	}
	a.mu.Unlock()
	for _, worker := range workers {
		<-worker.done
	}
	return nil
}

func (a *Agent) see(ctx context.Context, pod *core.Pod) {
	a.mu.Lock()
	defer a.mu.Unlock()
	worker := a.pods[pod.UID]
	if worker == nil {
		worker = newPodWorker(a, pod)
		a.pods[pod.UID] = worker
		go func() {
			worker.run(ctx)
			a.mu.Lock()
			delete(a.pods, pod.UID)
			a.mu.Unlock()
		}()
	}
	worker.update(pod)
}

// forget ends a pod whose object is gone, as happens with a forced deletion and when etcd goes back in time.
func (a *Agent) forget(o any) {
	if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	pod, ok := o.(*core.Pod)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if worker := a.pods[pod.UID]; worker != nil {
		worker.vanish()
	}
}

func (a *Agent) find(namespace, name string) *podWorker {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, worker := range a.pods {
		if pod := worker.current(); pod.Namespace == namespace && pod.Name == name {
			return worker
		}
	}
	return nil
}

func (a *Agent) register(ctx context.Context) error {
	now := meta.Now()
	capacity := core.ResourceList{
		core.ResourceCPU:    resource.MustParse("64"),
		core.ResourceMemory: resource.MustParse("256Gi"),
		core.ResourcePods:   resource.MustParse("5000"),
	}
	node := &core.Node{
		ObjectMeta: meta.ObjectMeta{Name: a.Name, Labels: map[string]string{
			core.LabelHostname: a.Name, core.LabelOSStable: "linux", core.LabelArchStable: "amd64",
			core.LabelTopologyZone: a.Name,
		}},
		Status: core.NodeStatus{
			Capacity:    capacity,
			Allocatable: capacity,
			Addresses: []core.NodeAddress{
				{Type: core.NodeInternalIP, Address: a.IP}, {Type: core.NodeHostName, Address: a.Name},
			},
			DaemonEndpoints: core.NodeDaemonEndpoints{KubeletEndpoint: core.DaemonEndpoint{Port: kubeletPort}},
			NodeInfo: core.NodeSystemInfo{
				OperatingSystem: "linux", Architecture: "amd64", ContainerRuntimeVersion: "process://1",
				KubeletVersion: "v0.0.0-testbed", OSImage: "this machine",
			},
			Conditions: []core.NodeCondition{{
				Type: core.NodeReady, Status: core.ConditionTrue, Reason: "AgentReady", Message: "the agent runs pods",
				LastHeartbeatTime: now, LastTransitionTime: now,
			}},
		},
	}
	nodes := a.Client.CoreV1().Nodes()
	created, err := nodes.Create(ctx, node, meta.CreateOptions{})
	if err != nil {
		return err
	}
	created.Status = node.Status
	_, err = nodes.UpdateStatus(ctx, created, meta.UpdateOptions{})
	return err
}

// heartbeat renews the node's Lease. The Node object itself is written once, at the start: no snapshot of etcd is older.
func (a *Agent) heartbeat(ctx context.Context) {
	leases := a.Client.CoordinationV1().Leases(core.NamespaceNodeLease)
	seconds := int32(4 * leasePeriod / time.Second)
	ticker := time.NewTicker(leasePeriod)
	defer ticker.Stop()
	for {
		now := meta.NowMicro()
		lease, err := leases.Get(ctx, a.Name, meta.GetOptions{})
		if err == nil {
			lease.Spec.RenewTime = &now
			_, err = leases.Update(ctx, lease, meta.UpdateOptions{})
		} else {
			_, err = leases.Create(ctx, &coordination.Lease{
				ObjectMeta: meta.ObjectMeta{Name: a.Name},
				Spec:       coordination.LeaseSpec{HolderIdentity: &a.Name, LeaseDurationSeconds: &seconds, RenewTime: &now},
			}, meta.CreateOptions{})
		}
		if err != nil && ctx.Err() == nil {
			log.Printf("node %s: lease: %v", a.Name, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
