package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The cluster itself: what the other tests rely on.

func fetch(url string) (*answer, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return &answer{response.StatusCode, response.Header, string(text)}, err
}

func serviceOf(t *testing.T, namespace, name string) string {
	t.Helper()
	service, err := env.client.CoreV1().Services(namespace).Get(context.Background(), name, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("http://%s:%d", service.Spec.ClusterIP, service.Spec.Ports[0].Port)
}

func TestNodeRunsADeploymentBehindAService(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": "up", "id": "", "replicas": 2, "linger": 0}))
	awaitReady(t, ns, "up")
	url := serviceOf(t, ns, "up")
	seen := map[string]bool{}
	eventually(t, "both pods answer", func() error {
		client.CloseIdleConnections()
		got, err := ask(url, "any")
		if err != nil {
			return err
		}
		if got.status != http.StatusOK {
			return fmt.Errorf("status %d: %s", got.status, got.body)
		}
		seen[got.upstream()] = true
		if len(seen) < 2 {
			return errNotYet
		}
		return nil
	})
	restart(t, ns, "up")
	for _, pod := range pods(t, ns, "app=up") {
		if seen[pod.Name] && pod.DeletionTimestamp == nil {
			t.Errorf("pod %s outlived a rolling update", pod.Name)
		}
	}
}

func TestNodeRestartsWhatWasKilled(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": "up", "id": "", "replicas": 1, "linger": 0}))
	awaitReady(t, ns, "up")
	kill(t, pods(t, ns, "app=up")[0])
	eventually(t, "the container restarts and is ready again", func() error {
		status := pods(t, ns, "app=up")[0].Status.ContainerStatuses[0]
		if status.RestartCount != 1 || !status.Ready {
			return fmt.Errorf("%d restarts, ready %v", status.RestartCount, status.Ready)
		}
		if last := status.LastTerminationState.Terminated; last == nil || last.ExitCode != 137 {
			return fmt.Errorf("last termination %+v", last)
		}
		return nil
	})
}

// kill sends SIGKILL to a pod's first container.
func kill(t *testing.T, pod core.Pod) {
	t.Helper()
	id := pod.Status.ContainerStatuses[0].ContainerID
	pid, err := strconv.Atoi(strings.TrimPrefix(id, "process://"))
	if err != nil {
		t.Fatalf("pod %s: container ID %q: %v", pod.Name, id, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("pod %s: kill %d: %v", pod.Name, pid, err)
	}
}

// What a container sees: variables, volumes, the API server with its token, its user, and no one else's files.
const insideScript = `
set -eu
[ "$GREETING" = "hello from $POD_IP, key" ]
[ "$SECRET" = s3cret ]
[ "$(cat /config/file.txt)" = content ]
[ "$(cat /secret/password)" = s3cret ]
[ "$(id -u)" = 65532 ]
[ "$(hostname)" = "$POD_NAME" ]
[ -z "$(ls /root 2>/dev/null)" ]
[ $$$$ -lt 20 ]
echo writable >/scratch/file
if touch /file 2>/dev/null; then echo "the root is writable"; exit 1; fi
token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)
curl -sSf --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt -H "authorization: Bearer $token" \
  "https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/version" >/dev/null
echo all right
`

func TestNodeGivesContainersWhatTheyAskFor(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, manifest(t, "inside.yaml", map[string]any{"script": strconv.Quote(insideScript)}))
	eventually(t, "the pod ends", func() error {
		pod, err := env.client.CoreV1().Pods(ns).Get(context.Background(), "inside", meta.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Status.Phase == core.PodFailed {
			logs, _ := env.kubectl("", "-n", ns, "logs", "inside", "-c", "inside")
			t.Fatalf("the script failed: %s", logs)
		}
		if pod.Status.Phase != core.PodSucceeded {
			return fmt.Errorf("phase %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		return nil
	})
	logs, err := env.kubectl("", "-n", ns, "logs", "inside", "-c", "inside")
	if err != nil || strings.TrimSpace(logs) != "all right" {
		t.Errorf("kubectl logs: %q (%v)", logs, err)
	}
}

func TestNodeSaysWhenThereIsNoImage(t *testing.T) {
	ns := namespace(t)
	if out, err := env.kubectl("", "-n", ns, "run", "nothing", "--image=example.com/nothing:1"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, "ErrImagePull", func() error {
		pod, err := env.client.CoreV1().Pods(ns).Get(context.Background(), "nothing", meta.GetOptions{})
		if err != nil {
			return err
		}
		for _, s := range pod.Status.ContainerStatuses {
			if s.State.Waiting != nil && s.State.Waiting.Reason == "ErrImagePull" {
				return nil
			}
		}
		return fmt.Errorf("%+v", pod.Status.ContainerStatuses)
	})
}

func TestTheClusterOutlivesItsParts(t *testing.T) {
	ns := namespace(t)
	apply(t, ns, manifest(t, "upstream.yaml", map[string]any{"name": "up", "id": "", "replicas": 2, "linger": 0}))
	awaitReady(t, ns, "up")
	before := map[string]bool{}
	for _, pod := range pods(t, ns, "app=up") {
		before[pod.Name] = true
	}
	snapshot := url.Values{"file": {filepath.Join(t.TempDir(), "snapshot")}}
	control(t, "/snapshot", snapshot)
	// One comes back from the dead, with the address of its former life in its status.
	lost := pods(t, ns, "app=up")[0].Name
	if err := env.client.CoreV1().Pods(ns).Delete(context.Background(), lost, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pod is gone", func() error {
		for _, pod := range pods(t, ns, "app=up") {
			if pod.Name == lost {
				return errNotYet
			}
		}
		return nil
	})
	scale(t, ns, "up", 4)
	awaitReady(t, ns, "up")
	control(t, "/restore", snapshot)
	eventually(t, "the two pods of the snapshot are there, and only they", func() error {
		now := pods(t, ns, "app=up")
		for _, pod := range now {
			if !before[pod.Name] || !isReady(pod) || pod.Status.ContainerStatuses[0].RestartCount != 0 {
				return fmt.Errorf("pod %s, ready %v", pod.Name, isReady(pod))
			}
		}
		if len(now) != 2 {
			return fmt.Errorf("%d pods", len(now))
		}
		return nil
	})
	// The control plane acts again.
	scale(t, ns, "up", 3)
	awaitReady(t, ns, "up")
	for _, component := range []string{"kube-apiserver", "etcd", "kube-controller-manager", "kube-scheduler"} {
		control(t, "/components/"+component+"/kill", nil)
		control(t, "/components/"+component+"/start", nil)
	}
	scale(t, ns, "up", 2)
	awaitReady(t, ns, "up")
	restart(t, ns, "up")
}
