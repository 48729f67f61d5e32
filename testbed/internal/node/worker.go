package node

import (
	"context"
	"log"
	"slices"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How often volumes are brought up to date, and how long a step that failed waits; a kubelet takes about a minute for
// the first.
const (
	refreshPeriod = 10 * time.Second
	retryPeriod   = time.Second
)

// podWorker runs one pod from binding to deletion.
type podWorker struct {
	agent *Agent
	// pod is as it was first seen; its spec does not change in what the agent acts on.
	pod     *core.Pod
	sandbox *sandbox
	volumes *volumes

	inits      []*container
	containers []*container

	mu         sync.Mutex
	latest     *core.Pod
	waiting    *waitingReason // what keeps the pod from starting
	startedAt  meta.Time
	isStopping bool
	vanished   bool

	changed  chan struct{} // one slot: the status may differ from what was reported
	stopping chan struct{} // closed when the pod is to end
	done     chan struct{} // closed when nothing of it is left
}

func newPodWorker(a *Agent, pod *core.Pod) *podWorker {
	w := &podWorker{
		agent: a, pod: pod, latest: pod, startedAt: meta.Now(),
		changed: make(chan struct{}, 1), stopping: make(chan struct{}), done: make(chan struct{}),
	}
	for n := range pod.Spec.InitContainers {
		w.inits = append(w.inits, newContainer(w, &pod.Spec.InitContainers[n]))
	}
	for n := range pod.Spec.Containers {
		w.containers = append(w.containers, newContainer(w, &pod.Spec.Containers[n]))
	}
	return w
}

func (w *podWorker) update(pod *core.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.latest = pod
	if pod.DeletionTimestamp != nil {
		w.beginStopping()
	}
	// A status that is older than ours comes back when etcd was restored.
	w.report()
}

// vanish ends the pod at once and without a report: its object is gone.
func (w *podWorker) vanish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vanished = true
	w.beginStopping()
}

func (w *podWorker) beginStopping() {
	if !w.isStopping {
		w.isStopping = true
		close(w.stopping)
	}
}

func (w *podWorker) current() *core.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

func (w *podWorker) hasSandbox() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sandbox != nil
}

// container finds a container by name; nil if there is none.
func (w *podWorker) container(name string) *container {
	for _, c := range slices.Concat(w.inits, w.containers) {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

func (w *podWorker) isInit(c *container) bool {
	for _, init := range w.inits {
		if init == c {
			return true
		}
	}
	return false
}

// withAddress is the pod as its fieldRefs see it.
func (w *podWorker) withAddress() *core.Pod {
	pod := w.current().DeepCopy()
	pod.Status.PodIP, pod.Status.HostIP = w.sandbox.ip, w.agent.IP
	return pod
}

// grace is the time that the pod gets to end by itself.
func (w *podWorker) grace() time.Duration {
	pod := w.current()
	seconds := int64(30)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	if pod.DeletionTimestamp != nil && pod.DeletionGracePeriodSeconds != nil {
		seconds = *pod.DeletionGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// run is the pod's life. Cancelling the context kills it.
func (w *podWorker) run(ctx context.Context) {
	defer close(w.done)
	if phase := w.pod.Status.Phase; phase == core.PodSucceeded || phase == core.PodFailed {
		w.awaitDeletion(ctx)
		return
	}
	var reporter sync.WaitGroup
	reporting, endReporting := context.WithCancel(ctx)
	reporter.Add(1)
	go func() {
		defer reporter.Done()
		w.reportLoop(reporting)
	}()
	alive := w.prepare(ctx)
	if alive {
		w.live(ctx)
	}
	endReporting()
	reporter.Wait()
	if ctx.Err() == nil {
		w.reportNow(ctx)
	}
	if w.sandbox != nil {
		// After the object is deleted: its address is never another pod's while it exists.
		defer w.sandbox.close()
	}
	if ctx.Err() == nil {
		w.awaitDeletion(ctx)
	}
}

// prepare makes sandbox and volumes, and tries again until it works or the pod is to end.
func (w *podWorker) prepare(ctx context.Context) bool {
	for {
		err := w.tryPrepare(ctx)
		if err == nil {
			w.wait(nil)
			return true
		}
		log.Printf("pod %s/%s: %v", w.pod.Namespace, w.pod.Name, err)
		w.wait(&waitingReason{"ContainerCreating", err})
		select {
		case <-ctx.Done():
			return false
		case <-w.stopping:
			return false
		case <-time.After(retryPeriod):
		}
	}
}

func (w *podWorker) tryPrepare(ctx context.Context) error {
	if w.sandbox == nil {
		s, err := newSandbox(w.agent, string(w.pod.UID))
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.sandbox = s
		w.mu.Unlock()
	}
	if w.volumes == nil {
		w.volumes = &volumes{client: w.agent.Client, pod: w.withAddress(), dir: w.sandbox.dir, tokens: map[string]token{}}
	}
	return w.volumes.refresh(ctx)
}

func (w *podWorker) wait(reason *waitingReason) {
	w.mu.Lock()
	w.waiting = reason
	w.mu.Unlock()
	w.report()
}

// live runs the containers until they have ended for good or the pod is to end, and then ends them.
func (w *podWorker) live(ctx context.Context) {
	refreshing, stop := context.WithCancel(ctx)
	defer stop()
	go w.refreshLoop(refreshing)
	var running []*container
	start := func(c *container) {
		running = append(running, c)
		go c.run(ctx)
	}
	initialised := true
	for _, c := range w.inits {
		start(c)
		ready := c.ended
		if c.always {
			ready = c.started
		}
		select {
		case <-ctx.Done():
		case <-w.stopping:
		case <-ready:
			state := c.snapshot().State
			if c.always || state.Terminated != nil && state.Terminated.ExitCode == 0 {
				continue
			}
		}
		initialised = false
		break
	}
	if initialised {
		for _, c := range w.containers {
			start(c)
		}
	}
	w.awaitEnd(ctx, initialised)
	w.stopAll(ctx, running)
}

// awaitEnd waits until all main containers have ended, or the pod is to end.
func (w *podWorker) awaitEnd(ctx context.Context, initialised bool) {
	if !initialised {
		return
	}
	for _, c := range w.containers {
		select {
		case <-ctx.Done():
			return
		case <-w.stopping:
			return
		case <-c.ended:
		}
	}
}

func (w *podWorker) stopAll(ctx context.Context, running []*container) {
	grace := w.grace()
	w.mu.Lock()
	if w.vanished || ctx.Err() != nil {
		grace = 0
	}
	w.mu.Unlock()
	var all sync.WaitGroup
	for _, c := range running {
		all.Add(1)
		go func() {
			defer all.Done()
			c.stop(ctx, grace)
		}()
	}
	all.Wait()
	w.mu.Lock()
	// Restarts that wait for their backoff see it, if the pod ends by itself.
	w.beginStopping()
	w.mu.Unlock()
	for _, c := range running {
		<-c.ended
	}
}

func (w *podWorker) refreshLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(refreshPeriod):
		}
		if err := w.volumes.refresh(ctx); err != nil && ctx.Err() == nil && !errors.IsNotFound(err) {
			log.Printf("pod %s/%s: %v", w.pod.Namespace, w.pod.Name, err)
		}
	}
}

// awaitDeletion waits until somebody deletes the pod and then confirms it, as the last thing that a node does for a pod.
func (w *podWorker) awaitDeletion(ctx context.Context) {
	for {
		w.mu.Lock()
		vanished, deleting := w.vanished, w.latest.DeletionTimestamp != nil
		w.mu.Unlock()
		if vanished {
			return
		}
		if deleting {
			err := w.confirmDeletion(ctx)
			if err == nil || errors.IsNotFound(err) || errors.IsConflict(err) {
				return
			}
			log.Printf("pod %s/%s: delete: %v", w.pod.Namespace, w.pod.Name, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryPeriod / 5):
		}
	}
}

func (w *podWorker) confirmDeletion(ctx context.Context) error {
	now := int64(0)
	return w.agent.Client.CoreV1().Pods(w.pod.Namespace).Delete(ctx, w.pod.Name, meta.DeleteOptions{
		GracePeriodSeconds: &now,
		Preconditions:      &meta.Preconditions{UID: &w.pod.UID},
	})
}
