// Package e2e runs Penstock in a real cluster: the chart is installed, manifests are applied, requests are sent, things
// are killed. `make e2e` builds what it needs and sets the environment:
//
//	TESTBED        the testbed program          TESTBED_BIN      etcd, kubectl, helm…
//	TESTBED_TARGET where cargo put our binaries TESTBED_IMAGES   the image map
//	E2E_CLUSTER    the name of a cluster that runs already, with Penstock installed, and is left as it is
//	E2E_HOLD       for how long the cluster stays as it is when a test has failed, such as 5m
//	PENSTOCK_WALKTHROUGH  the absolute path of a folder with the walkthrough's own manifests, which are then tested too
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"penstock.dev/testbed/internal/cluster"
)

// world is the cluster that all tests share. Each works in a namespace of its own.
type world struct {
	*cluster.Instance
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

var env *world

const (
	release          = "penstock"
	releaseNamespace = "penstock-system"
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	name, keep := os.Getenv("E2E_CLUSTER"), true
	if name == "" {
		name, keep = fmt.Sprintf("e2e-%d", os.Getpid()), false
		if err := testbed("up", name, "--nodes", "2"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = testbed("down", name) }()
	}
	var err error
	if env, err = open(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !keep {
		begin := time.Now()
		if err := env.install(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Printf("CRDs and chart installed after %.1f s\n", time.Since(begin).Seconds())
	}
	return m.Run()
}

func testbed(args ...string) error {
	out, err := exec.Command(os.Getenv("TESTBED"), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("testbed %v: %w\n%s", args, err, out)
	}
	return nil
}

func open(name string) (*world, error) {
	instance, err := cluster.Open(name)
	if err != nil {
		return nil, err
	}
	config, err := instance.AdminConfig()
	if err != nil {
		return nil, err
	}
	w := &world{Instance: instance}
	if w.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	w.dynamic, err = dynamic.NewForConfig(config)
	return w, err
}

// install brings in the walkthrough's CRDs and the chart, with the values of all tests.
func (w *world) install() error {
	crds, err := exec.Command(repo("testbed/crds.sh")).Output()
	if err != nil {
		return fmt.Errorf("crds.sh: %w", err)
	}
	if out, err := w.kubectl(string(crds), "apply", "--server-side", "-f", "-"); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if out, err := w.helm("install", release, repo("helm/penstock"), "--namespace", releaseNamespace, "--create-namespace",
		"--values", "manifests/values.yaml", "--wait", "--timeout", "3m"); err != nil {
		pods, _ := w.kubectl("", "-n", releaseNamespace, "get", "pods,events", "-o", "wide")
		logs, _ := w.kubectl("", "-n", releaseNamespace, "logs", "deployment/"+release, "--tail", "20")
		return fmt.Errorf("%w\n%s\n%s\n%s", err, out, pods, logs)
	}
	return nil
}

func (w *world) kubectl(stdin string, args ...string) (string, error) {
	return w.run("kubectl", stdin, args...)
}

func (w *world) helm(args ...string) (string, error) { return w.run("helm", "", args...) }

func (w *world) run(program, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("TESTBED_BIN"), program), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+w.Path("kubeconfig"))
	if stdin != "" {
		cmd.Stdin = newReader(stdin)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %v: %w", program, args, err)
	}
	return string(out), err
}

// repo is a path in the project.
func repo(path string) string {
	abs, err := filepath.Abs(filepath.Join("..", "..", path))
	if err != nil {
		panic(err)
	}
	return abs
}
