package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Supervisor owns the processes of one control plane.
type Supervisor struct {
	*Instance
	bin        Binaries
	components []*Component

	mu sync.Mutex
}

// NewSupervisor lays out certificates and network for a new cluster; nothing runs yet.
func NewSupervisor(i *Instance, bin Binaries, nodes int) (*Supervisor, error) {
	pid := strconv.Itoa(os.Getpid())
	if err := os.WriteFile(i.Path("pid"), []byte(pid), 0o644); err != nil {
		return nil, err
	}
	i.removeNetwork()
	if err := i.createBridge(nodes); err != nil {
		return nil, err
	}
	if err := writePKI(i, nodes); err != nil {
		return nil, err
	}
	return &Supervisor{Instance: i, bin: bin, components: components(i, bin)}, nil
}

// Start starts all components in order.
func (s *Supervisor) Start(ctx context.Context) error {
	for _, c := range s.components {
		if err := c.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all components and removes every trace of the cluster.
func (s *Supervisor) Close() {
	for n := len(s.components) - 1; n >= 0; n-- {
		// Nothing of the cluster is kept, so nothing needs to end gently.
		s.components[n].Stop(syscall.SIGKILL)
	}
	s.Remove()
}

func (s *Supervisor) component(name string) (*Component, error) {
	var names []string
	for _, c := range s.components {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return nil, fmt.Errorf("no component %q; there are %s", name, strings.Join(names, ", "))
}

// Snapshot saves etcd's state to a file.
func (s *Supervisor) Snapshot(ctx context.Context, file string) error {
	return s.run(ctx, "etcdctl", "--endpoints="+s.Loopback()+":2379", "snapshot", "save", file)
}

// revisionsUndone is what the revision is raised by in a restore: more than clients can have seen since a snapshot, as the
// Kubernetes manual advises it. A client that watches from a revision of the lost future would be told nothing until
// that revision comes again; with the raise it is told to list anew.
const revisionsUndone = 1_000_000_000

// Restore puts etcd back to a snapshot, as the Kubernetes manual has it: everything stops, the data is replaced, the
// revision is raised, everything starts again.
func (s *Supervisor) Restore(ctx context.Context, file string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := len(s.components) - 1; n >= 0; n-- {
		s.components[n].Stop(syscall.SIGTERM)
	}
	if err := os.RemoveAll(s.EtcdDir()); err != nil {
		return err
	}
	peer := fmt.Sprintf("http://%s:2380", s.Loopback())
	if err := s.run(ctx, "etcdutl", "snapshot", "restore", file, "--data-dir="+s.EtcdDir(), "--name=testbed",
		"--initial-cluster=testbed="+peer, "--initial-advertise-peer-urls="+peer,
		fmt.Sprintf("--bump-revision=%d", revisionsUndone), "--mark-compacted"); err != nil {
		return err
	}
	return s.Start(ctx)
}

func (s *Supervisor) run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, s.bin.path(program), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, args[0], err, out)
	}
	return nil
}
