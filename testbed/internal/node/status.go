package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// report asks for the status to be written; many calls at once become one write.
func (w *podWorker) report() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *podWorker) reportLoop(ctx context.Context) {
	w.report()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		}
		w.reportNow(ctx)
	}
}

// reportNow writes the status until the API server takes it: a pod's state must not be lost because the server was away.
func (w *podWorker) reportNow(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		gone := w.vanished
		w.mu.Unlock()
		if gone {
			return
		}
		err := w.patchStatus(ctx)
		if err == nil || errors.IsNotFound(err) {
			return
		}
		if ctx.Err() == nil {
			log.Printf("pod %s/%s: status: %v", w.pod.Namespace, w.pod.Name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryPeriod / 2):
		}
	}
}

func (w *podWorker) patchStatus(ctx context.Context) error {
	status := w.status()
	if isReported(status, w.current().Status) {
		return nil
	}
	patch, err := statusPatch(w.pod.UID, status)
	if err != nil {
		return err
	}
	answer, err := w.agent.Client.CoreV1().Pods(w.pod.Namespace).
		Patch(ctx, w.pod.Name, types.StrategicMergePatchType, patch, meta.PatchOptions{}, "status")
	if errors.IsConflict(err) {
		// A pod of the same name and another UID: ours is gone.
		w.vanish()
		return nil
	}
	if err == nil {
		w.mu.Lock()
		// A copy, since what is there belongs to the informer.
		w.latest = w.latest.DeepCopy()
		w.latest.Status = answer.Status
		w.mu.Unlock()
	}
	return err
}

// statusPatch is the patch that makes this the status. The list of addresses would be merged: a pod that came back with a
// restored etcd, whose sandbox is new, has another address than its status says, and no pod has two.
func statusPatch(uid types.UID, status core.PodStatus) ([]byte, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&status)
	if err != nil {
		return nil, err
	}
	addresses := []any{map[string]any{"$patch": "replace"}}
	if known, ok := fields["podIPs"].([]any); ok {
		addresses = append(addresses, known...)
	}
	fields["podIPs"] = addresses
	return json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": fields})
}

// isReported tells whether the API server has this status already. Conditions of others are not looked at.
func isReported(status, known core.PodStatus) bool {
	for _, c := range status.Conditions {
		same := func(other core.PodCondition) bool { return equality.Semantic.DeepEqual(c, other) }
		if !slices.ContainsFunc(known.Conditions, same) {
			return false
		}
	}
	return status.Phase == known.Phase && status.PodIP == known.PodIP &&
		equality.Semantic.DeepEqual(status.ContainerStatuses, known.ContainerStatuses) &&
		equality.Semantic.DeepEqual(status.InitContainerStatuses, known.InitContainerStatuses)
}

// status computes the pod's status from its containers'.
func (w *podWorker) status() core.PodStatus {
	w.mu.Lock()
	waiting, latest := w.waiting, w.latest
	started := w.startedAt
	sandbox := w.sandbox
	w.mu.Unlock()
	status := core.PodStatus{
		HostIP: w.agent.IP, HostIPs: []core.HostIP{{IP: w.agent.IP}}, StartTime: &started,
	}
	if latest.Status.StartTime != nil {
		status.StartTime = latest.Status.StartTime
	}
	if sandbox != nil {
		status.PodIP, status.PodIPs = sandbox.ip, []core.PodIP{{IP: sandbox.ip}}
	}
	status.InitContainerStatuses = w.statuses(w.inits, waiting)
	status.ContainerStatuses = w.statuses(w.containers, waiting)
	status.Phase = w.phase(status)
	status.Conditions = w.conditions(status, latest)
	return status
}

func (w *podWorker) statuses(containers []*container, waiting *waitingReason) []core.ContainerStatus {
	var all []core.ContainerStatus
	for _, c := range containers {
		s := c.snapshot()
		if waiting != nil && s.State.Waiting != nil {
			s.State.Waiting = &core.ContainerStateWaiting{Reason: waiting.reason, Message: waiting.Error()}
		}
		if s.State.Terminated != nil && w.isInit(c) {
			s.Ready = s.State.Terminated.ExitCode == 0
		}
		all = append(all, s)
	}
	return all
}

func (w *podWorker) phase(status core.PodStatus) core.PodPhase {
	policy := w.pod.Spec.RestartPolicy
	for n, s := range status.InitContainerStatuses {
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 && policy == core.RestartPolicyNever && !w.inits[n].always {
			return core.PodFailed
		}
	}
	ended, failed, begun := 0, 0, 0
	for n, s := range status.ContainerStatuses {
		if s.State.Waiting == nil || s.LastTerminationState.Terminated != nil {
			begun++
		}
		if t := s.State.Terminated; t != nil && isClosed(w.containers[n].ended) {
			ended++
			if t.ExitCode != 0 {
				failed++
			}
		}
	}
	switch {
	case ended == len(status.ContainerStatuses) && failed > 0:
		return core.PodFailed
	case ended == len(status.ContainerStatuses) && policy != core.RestartPolicyAlways:
		return core.PodSucceeded
	case ended == len(status.ContainerStatuses):
		return core.PodFailed
	case begun > 0:
		return core.PodRunning
	}
	return core.PodPending
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (w *podWorker) conditions(status core.PodStatus, latest *core.Pod) []core.PodCondition {
	initialised := true
	for n, s := range status.InitContainerStatuses {
		done := s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
		initialised = initialised && (done || w.inits[n].always && s.Started != nil && *s.Started)
	}
	var unready []string
	for _, s := range status.ContainerStatuses {
		if !s.Ready {
			unready = append(unready, s.Name)
		}
	}
	reason, message := "", ""
	if len(unready) > 0 {
		reason, message = "ContainersNotReady", fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
	}
	ready := len(unready) == 0
	gated, gateReason, gateMessage := ready, reason, message
	for _, gate := range w.pod.Spec.ReadinessGates {
		if ready && !conditionIs(latest.Status.Conditions, gate.ConditionType) {
			gated, gateReason, gateMessage = false, "ReadinessGatesNotReady", fmt.Sprintf("%s is not true", gate.ConditionType)
		}
	}
	conditions := []core.PodCondition{
		condition(core.PodInitialized, initialised, "", ""),
		condition(core.ContainersReady, ready, reason, message),
		condition(core.PodReady, gated, gateReason, gateMessage),
	}
	for n := range conditions {
		now := meta.Now()
		conditions[n].LastTransitionTime = now
		for _, old := range latest.Status.Conditions {
			if old.Type == conditions[n].Type && old.Status == conditions[n].Status && !old.LastTransitionTime.IsZero() {
				conditions[n].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return conditions
}

func condition(kind core.PodConditionType, is bool, reason, message string) core.PodCondition {
	status := core.ConditionFalse
	if is {
		status = core.ConditionTrue
	}
	return core.PodCondition{Type: kind, Status: status, Reason: reason, Message: message}
}

func conditionIs(conditions []core.PodCondition, kind core.PodConditionType) bool {
	for _, c := range conditions {
		if c.Type == kind {
			return c.Status == core.ConditionTrue
		}
	}
	return false
}
