package cluster

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Component is one process of the control plane, which tests may stop, kill and start again.
type Component struct {
	Name    string
	args    []string
	healthy func(context.Context) error
	log     string

	mu      sync.Mutex
	process *os.Process
	exited  chan struct{}
}

// Binaries is where cluster.sh put etcd, kube and the rest.
type Binaries string

func (b Binaries) path(name string) string { return filepath.Join(string(b), name) }

// Start starts the process and waits until it is healthy.
func (c *Component) Start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process != nil {
		return nil
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	// Its own group keeps a Ctrl-C for the supervisor, which ends things in order; no component survives it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	exited := make(chan struct{})
	c.process, c.exited = cmd.Process, exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	if err := c.wait(ctx, exited); err != nil {
		return fmt.Errorf("%s does not become healthy (%w); see %s", c.Name, err, c.log)
	}
	return nil
}

func (c *Component) wait(ctx context.Context, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		err := c.healthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-exited:
			return fmt.Errorf("it exited")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends the process with the signal and waits until it is gone; after 20 s it is killed.
func (c *Component) Stop(signal syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return
	}
	_ = c.process.Signal(signal)
	select {
	case <-c.exited:
	case <-time.After(20 * time.Second):
		_ = c.process.Kill()
		<-c.exited
	}
	c.process = nil
}

// IsRunning tells whether the process was started and has not exited.
func (c *Component) IsRunning() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// components lists the control plane in the order in which it starts.
func components(i *Instance, bin Binaries) []*Component {
	pki := func(file string) string { return i.Path("pki", file) }
	etcdURL := fmt.Sprintf("http://%s:2379", i.Loopback())
	peerURL := fmt.Sprintf("http://%s:2380", i.Loopback())
	list := []*Component{{
		Name: "etcd",
		args: []string{
			bin.path("etcd"), "--name=testbed", "--data-dir=" + i.EtcdDir(),
			"--listen-client-urls=" + etcdURL, "--advertise-client-urls=" + etcdURL,
			"--listen-peer-urls=" + peerURL, "--initial-advertise-peer-urls=" + peerURL,
			"--initial-cluster=testbed=" + peerURL, "--quota-backend-bytes=4294967296",
			"--log-level=warn", "--logger=zap",
		},
		healthy: httpHealthy(http.DefaultClient, etcdURL+"/health"),
	}, {
		Name: "kube-apiserver",
		args: []string{
			bin.path("kube-apiserver"), "--etcd-servers=" + etcdURL,
			"--bind-address=" + i.NodeIP(0), "--advertise-address=" + i.NodeIP(0), fmt.Sprintf("--secure-port=%d", APIServerPort),
			"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
			"--client-ca-file=" + pki("ca.crt"), "--authorization-mode=RBAC", "--allow-privileged=true",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-signing-key-file=" + pki("sa.key"), "--service-account-key-file=" + pki("sa.pub"),
			"--service-cluster-ip-range=" + i.ServiceCIDR(), "--endpoint-reconciler-type=master-count",
			"--kubelet-preferred-address-types=InternalIP", "--kubelet-certificate-authority=" + pki("ca.crt"),
			"--kubelet-client-certificate=" + pki("kubelet-client.crt"), "--kubelet-client-key=" + pki("kubelet-client.key"),
			// One machine, one test at a time: the caches and queues for thousands of clients only cost memory here.
			"--profiling=false", "--shutdown-delay-duration=0s",
		},
		healthy: i.apiServerHealthy,
	}, {
		Name: "kube-controller-manager",
		args: []string{
			bin.path("kube-controller-manager"), "--kubeconfig=" + i.Path("kube-controller-manager.kubeconfig"),
			"--bind-address=" + i.NodeIP(0), "--leader-elect=false", "--use-service-account-credentials=true",
			"--service-account-private-key-file=" + pki("sa.key"), "--root-ca-file=" + pki("ca.crt"),
			"--kube-api-qps=300", "--kube-api-burst=600",
			// The defaults are right for a fleet of nodes. Here a node is late only when the machine is overloaded, and
			// evicting its pods would turn a slow test into a wrong one.
			"--node-monitor-grace-period=10m",
		},
		healthy: portOpen(i.NodeIP(0) + ":10257"),
	}, {
		Name: "kube-scheduler",
		args: []string{
			bin.path("kube-scheduler"), "--kubeconfig=" + i.Path("kube-scheduler.kubeconfig"),
			"--bind-address=" + i.NodeIP(0), "--leader-elect=false", "--kube-api-qps=300", "--kube-api-burst=600",
		},
		healthy: portOpen(i.NodeIP(0) + ":10259"),
	}}
	for _, c := range list {
		c.log = i.Path("logs", c.Name+".log")
	}
	return list
}
