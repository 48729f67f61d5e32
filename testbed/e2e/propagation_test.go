package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

// adminPort is where a data plane answers /readyz, and /debug/* to its own machine.
const adminPort = 9901

// forwards are the processes that lead to data planes' debug pages, by pod.
var forwards = struct {
	sync.Mutex
	urls map[string]string
}{urls: map[string]string{}}

// debug is where a data plane's debug pages are reached, which answer on its loopback interface only: by `kubectl
// port-forward`, once a pod and test.
func debug(t *testing.T, pod core.Pod) (string, error) {
	t.Helper()
	forwards.Lock()
	defer forwards.Unlock()
	key := string(pod.UID)
	if url, ok := forwards.urls[key]; ok {
		return url, nil
	}
	cmd := exec.Command(filepath.Join(os.Getenv("TESTBED_BIN"), "kubectl"), "-n", pod.Namespace, "port-forward", "pod/"+pod.Name,
		fmt.Sprintf(":%d", adminPort))
	cmd.Env = append(os.Environ(), "KUBECONFIG="+env.Path("kubeconfig"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	t.Cleanup(func() {
		forwards.Lock()
		defer forwards.Unlock()
		delete(forwards.urls, key)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var port int
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "Forwarding from 127.0.0.1:%d", &port)
	}
	if err != nil {
		return "", fmt.Errorf("kubectl port-forward to %s says %q: %w", pod.Name, line, err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	forwards.urls[key] = url
	return url, nil
}

// running lists a Gateway's data plane pods that are ready and stay.
func running(t *testing.T, namespace, gateway string) []core.Pod {
	t.Helper()
	return slices.DeleteFunc(pods(t, namespace, gatewayLabel+"="+gateway), func(pod core.Pod) bool {
		return pod.DeletionTimestamp != nil || !isReady(pod)
	})
}

func isReady(pod core.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == core.PodReady {
			return c.Status == core.ConditionTrue
		}
	}
	return false
}

// digests reads which routing document each replica runs, by pod.
func digests(t *testing.T, namespace, gateway string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pod := range running(t, namespace, gateway) {
		got, err := fetch(fmt.Sprintf("http://%s:%d/readyz", pod.Status.PodIP, adminPort))
		if err != nil {
			t.Logf("pod %s: %v", pod.Name, err)
			continue
		}
		var ready struct {
			Generation int64
			Digest     string
		}
		if err := json.Unmarshal([]byte(got.body), &ready); err != nil {
			t.Logf("pod %s: /readyz answers %.200s", pod.Name, got.body)
			continue
		}
		all[pod.Name] = fmt.Sprintf("%d %s", ready.Generation, ready.Digest)
	}
	return all
}

// propagate makes a change and waits until every replica runs another routing document than before.
func propagate(t *testing.T, namespace, gateway string, change func()) {
	t.Helper()
	before := digests(t, namespace, gateway)
	change()
	begin, reached := time.Now(), 0
	eventually(t, "every replica takes the change", func() error {
		after := digests(t, namespace, gateway)
		if len(after) == 0 {
			return errNotYet
		}
		for pod, digest := range after {
			if before[pod] == digest {
				return fmt.Errorf("pod %s still runs %s", pod, digest)
			}
		}
		reached = len(after)
		return nil
	})
	t.Logf("FIGURE a routing change reached %d replicas after %d ms", reached, time.Since(begin).Milliseconds())
}

// knows tells whether any replica's /debug/pools names an address.
func knows(t *testing.T, namespace, gateway, address string) bool {
	t.Helper()
	for _, pod := range running(t, namespace, gateway) {
		url, err := debug(t, pod)
		var got *answer
		if err == nil {
			if got, err = fetch(url + "/debug/pools"); err != nil {
				// It ended with a container that did. The next time there is another.
				forwards.Lock()
				delete(forwards.urls, string(pod.UID))
				forwards.Unlock()
			}
		}
		if err != nil || got.status != 200 {
			t.Logf("pod %s: /debug/pools: %v", pod.Name, err)
			return true
		}
		if strings.Contains(got.body, `"`+address+`:`) {
			return true
		}
	}
	return false
}
