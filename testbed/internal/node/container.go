package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	expansion "k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// The first restart is immediate; a container that then lasts less than backoffReset waits longer each time. A kubelet
// starts at 10 s and ends at 5 min; tests have no time for that.
const (
	backoffFirst = time.Second
	backoffMost  = 10 * time.Second
	backoffReset = 30 * time.Second
)

// container runs one container of a pod, again and again where its restart policy says so.
type container struct {
	worker *podWorker
	spec   *core.Container
	// always restarts whatever ends; a sidecar among the init containers has it.
	always bool

	mu       sync.Mutex
	status   core.ContainerStatus
	pid      int
	stopping bool
	exited   chan struct{} // of the running process
	ended    chan struct{} // closed when it will not start again
	started  chan struct{} // closed when the startup probe, or the start, succeeded for the first time
}

func newContainer(w *podWorker, spec *core.Container) *container {
	no := false
	return &container{
		worker: w,
		spec:   spec,
		always: spec.RestartPolicy != nil && *spec.RestartPolicy == core.ContainerRestartPolicyAlways,
		status: core.ContainerStatus{
			Name: spec.Name, Image: spec.Image, Started: &no,
			State: core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: "ContainerCreating"}},
		},
		ended:   make(chan struct{}),
		started: make(chan struct{}),
	}
}

// run returns when the container has ended for good.
func (c *container) run(ctx context.Context) {
	defer close(c.ended)
	backoff := time.Duration(0)
	for {
		begin := time.Now()
		code, err := c.runOnce(ctx)
		if err != nil {
			// It could not be created: waiting, not terminated, and tried again, as a missing image or ConfigMap is.
			var reason waitingReason
			if !errors.As(err, &reason) {
				reason = waitingReason{"CreateContainerError", err}
			}
			c.set(func(s *core.ContainerStatus) {
				s.State = core.ContainerState{Waiting: &core.ContainerStateWaiting{Reason: reason.reason, Message: err.Error()}}
			})
		} else if !c.restarts(code) {
			return
		}
		if time.Since(begin) > backoffReset {
			backoff = 0
		}
		if err != nil && backoff == 0 {
			backoff = backoffFirst
		}
		if err == nil && backoff > 0 {
			c.set(func(s *core.ContainerStatus) {
				s.LastTerminationState = s.State
				s.State = core.ContainerState{Waiting: &core.ContainerStateWaiting{
					Reason: "CrashLoopBackOff", Message: fmt.Sprintf("back-off %s restarting failed container", backoff),
				}}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-c.worker.stopping:
			return
		case <-time.After(backoff):
		}
		backoff = min(max(2*backoff, backoffFirst), backoffMost)
		if err == nil {
			c.set(func(s *core.ContainerStatus) {
				s.RestartCount++
				if s.State.Terminated != nil {
					s.LastTerminationState = s.State
				}
			})
		}
	}
}

func (c *container) restarts(code int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopping:
		return false
	case c.always:
		return true
	case c.worker.isInit(c):
		return code != 0 && c.worker.pod.Spec.RestartPolicy != core.RestartPolicyNever
	}
	switch c.worker.pod.Spec.RestartPolicy {
	case core.RestartPolicyNever:
		return false
	case core.RestartPolicyOnFailure:
		return code != 0
	}
	return true
}

// waitingReason is an error that keeps a container from being created, with the word that its status shows.
type waitingReason struct {
	reason string
	err    error
}

func (w waitingReason) Error() string { return w.err.Error() }

// runOnce starts the process, probes it and returns its exit code.
func (c *container) runOnce(ctx context.Context) (int, error) {
	file, err := c.prepare(ctx)
	if err != nil {
		return 0, err
	}
	path := c.logFile()
	_ = os.Rename(path, path+".previous")
	output, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer output.Close()
	cmd := exec.Command("/proc/self/exe", "container", file)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Pdeathsig:  syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	c.mu.Lock()
	if c.stopping {
		c.mu.Unlock()
		return 0, nil
	}
	if err := cmd.Start(); err != nil {
		c.mu.Unlock()
		return 0, err
	}
	c.pid, c.exited = cmd.Process.Pid, make(chan struct{})
	exited := c.exited
	c.mu.Unlock()
	begin := now()
	c.set(func(s *core.ContainerStatus) {
		// The process ID is what a person, or a test, needs to get at the container from the host.
		s.ContainerID = fmt.Sprintf("process://%d", cmd.Process.Pid)
		s.State = core.ContainerState{Running: &core.ContainerStateRunning{StartedAt: begin}}
		s.Ready, s.Started = false, new(bool)
	})
	probing, stopProbing := context.WithCancel(ctx)
	var probes sync.WaitGroup
	probes.Add(1)
	go func() {
		defer probes.Done()
		c.probe(probing, time.Now())
	}()
	err = cmd.Wait()
	close(exited)
	stopProbing()
	probes.Wait()
	code, signal := exitOf(cmd.ProcessState)
	c.set(func(s *core.ContainerStatus) {
		reason := "Completed"
		if code != 0 {
			reason = "Error"
		}
		s.Ready, s.Started = false, new(bool)
		s.State = core.ContainerState{Terminated: &core.ContainerStateTerminated{
			ExitCode: int32(code), Signal: int32(signal), Reason: reason, StartedAt: begin, FinishedAt: now(), ContainerID: s.ContainerID,
		}}
	})
	return code, nil
}

// now has the precision that the API server keeps, so that a status compares equal with what it returns.
func now() meta.Time { return meta.Now().Rfc3339Copy() }

// exitOf gives a shell's view of how a process ended: 128 plus the signal that ended it.
func exitOf(state *os.ProcessState) (code, signal int) {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), int(status.Signal())
	}
	return state.ExitCode(), 0
}

// prepare resolves image, variables, volumes and security context into the file that the process reads.
func (c *container) prepare(ctx context.Context) (string, error) {
	w := c.worker
	image, program, err := w.agent.Images.find(c.spec.Image)
	if err != nil {
		return "", waitingReason{"ErrImagePull", err}
	}
	pod := w.withAddress()
	env, err := environment(ctx, w.agent.Client, pod, c.spec, w.agent.KubernetesServiceIP())
	if err != nil {
		return "", waitingReason{"CreateContainerConfigError", err}
	}
	hosts, err := hosts(ctx, w.agent.Client, pod)
	if err != nil {
		return "", waitingReason{"CreateContainerConfigError", err}
	}
	j := &jail{
		Root: filepath.Join(w.sandbox.dir, c.spec.Name+".root"), Netns: w.sandbox.netnsPath(), Hostname: pod.Name,
		Program: program, Env: env, Dir: c.spec.WorkingDir, Hosts: hosts,
	}
	for name, value := range image.Env {
		if _, given := env[name]; !given {
			env[name] = value
		}
	}
	mapping := expansion.MappingFuncFor(env)
	entrypoint := c.spec.Command
	if len(entrypoint) == 0 {
		entrypoint = []string{filepath.Base(program)}
	}
	for _, arg := range append(append([]string{}, entrypoint...), c.spec.Args...) {
		j.Argv = append(j.Argv, expansion.Expand(arg, mapping))
	}
	if err := j.secure(pod, c.spec, image.User); err != nil {
		return "", waitingReason{"CreateContainerConfigError", err}
	}
	for _, m := range c.spec.VolumeMounts {
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expansion.Expand(m.SubPathExpr, mapping)
		}
		j.Mounts = append(j.Mounts, mount{Source: filepath.Join(w.volumes.path(m.Name), sub), Target: m.MountPath, ReadOnly: m.ReadOnly})
	}
	c.set(func(s *core.ContainerStatus) { s.ImageID = program })
	data, err := json.Marshal(j)
	if err != nil {
		return "", err
	}
	file := filepath.Join(w.sandbox.dir, c.spec.Name+".json")
	return file, os.WriteFile(file, data, 0o600)
}

// secure applies the security contexts: user, groups, read-only root, privileges.
func (j *jail) secure(pod *core.Pod, spec *core.Container, imageUser int64) error {
	user, group := imageUser, imageUser
	nonRoot := false
	if s := pod.Spec.SecurityContext; s != nil {
		set(&user, s.RunAsUser)
		set(&group, s.RunAsGroup)
		set(&nonRoot, s.RunAsNonRoot)
		if s.FSGroup != nil {
			j.Groups = append(j.Groups, int(*s.FSGroup))
		}
		for _, g := range s.SupplementalGroups {
			j.Groups = append(j.Groups, int(g))
		}
	}
	if s := spec.SecurityContext; s != nil {
		set(&user, s.RunAsUser)
		set(&group, s.RunAsGroup)
		set(&nonRoot, s.RunAsNonRoot)
		set(&j.ReadOnly, s.ReadOnlyRootFilesystem)
		j.NoNewPriv = s.AllowPrivilegeEscalation != nil && !*s.AllowPrivilegeEscalation
		if s.Capabilities != nil {
			for _, capability := range s.Capabilities.Drop {
				j.DropAll = j.DropAll || capability == "ALL"
			}
		}
	}
	if nonRoot && user == 0 {
		return errors.New("container has runAsNonRoot and image will run as root")
	}
	j.User, j.Group = int(user), int(group)
	return nil
}

func set[T any](value *T, other *T) {
	if other != nil {
		*value = *other
	}
}

// stop sends the preStop hook's work and SIGTERM, and SIGKILL when the grace is over. It returns when the process is gone.
func (c *container) stop(ctx context.Context, grace time.Duration) {
	deadline := time.Now().Add(grace)
	c.mu.Lock()
	pid, exited := c.pid, c.exited
	c.mu.Unlock()
	if exited != nil && c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil && grace > 0 {
		hook, cancel := context.WithDeadline(ctx, deadline)
		c.preStop(hook, exited)
		cancel()
	}
	c.mu.Lock()
	c.stopping = true
	pid, exited = c.pid, c.exited
	c.mu.Unlock()
	if exited == nil {
		return
	}
	select {
	case <-exited:
		return
	default:
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	select {
	case <-exited:
		return
	case <-ctx.Done():
	case <-time.After(max(time.Until(deadline), 0)):
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	<-exited
}

func (c *container) preStop(ctx context.Context, exited <-chan struct{}) {
	hook := c.spec.Lifecycle.PreStop
	switch {
	case hook.Sleep != nil:
		select {
		case <-ctx.Done():
		case <-exited:
		case <-time.After(time.Duration(hook.Sleep.Seconds) * time.Second):
		}
	case hook.Exec != nil:
		_ = c.exec(ctx, hook.Exec.Command)
	case hook.HTTPGet != nil:
		_ = c.httpGet(ctx, hook.HTTPGet)
	}
}

// exec runs a command inside the container's namespaces.
func (c *container) exec(ctx context.Context, command []string) error {
	out, err := c.command(ctx, command).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (c *container) command(ctx context.Context, command []string) *exec.Cmd {
	c.mu.Lock()
	defer c.mu.Unlock()
	args := append([]string{fmt.Sprintf("--target=%d", c.pid), "--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd", "--"}, command...)
	return exec.CommandContext(ctx, "nsenter", args...)
}

// set changes the status and has the worker report it.
func (c *container) set(change func(*core.ContainerStatus)) {
	c.mu.Lock()
	change(&c.status)
	c.mu.Unlock()
	c.worker.report()
}

func (c *container) snapshot() core.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *c.status.DeepCopy()
}

func (c *container) logFile() string { return filepath.Join(c.worker.sandbox.dir, c.spec.Name+".log") }
