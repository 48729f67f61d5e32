package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"penstock.dev/testbed/internal/cluster"
)

// sandbox is what the containers of a pod share: a network namespace with one address on the cluster's bridge.
type sandbox struct {
	netns string
	link  string
	ip    string
	index int
	ips   *Addresses
	dir   string
}

// newSandbox makes the namespace, a veth pair into the bridge, and the pod's folder.
func newSandbox(a *Agent, uid string) (*sandbox, error) {
	index, err := a.IPs.take()
	if err != nil {
		return nil, err
	}
	s := &sandbox{
		netns: a.Netns(uid), ip: a.PodIP(index), index: index, ips: a.IPs, dir: a.Path("pods", uid),
		// An interface's name has 15 characters at most; the address is unique and short.
		link: fmt.Sprintf("%s-%d", a.Bridge(), index),
	}
	outside := fmt.Sprintf("link add %[1]s type veth peer name eth0 netns %[2]s\nlink set %[1]s master %[3]s up\n", s.link, s.netns, a.Bridge())
	inside := fmt.Sprintf("link set lo up\nlink set eth0 address %[2]s\naddr add %[1]s/16 dev eth0\nlink set eth0 up\nroute add default via %[3]s\n", s.ip, cluster.Hardware(s.ip), a.NodeIP(0))
	err = cluster.IP("netns", "add", s.netns)
	if err == nil {
		err = batch(outside)
	}
	if err == nil {
		err = batch(inside, "-n", s.netns)
	}
	if err == nil {
		err = os.MkdirAll(s.dir, 0o755)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// batch runs several `ip` commands in one process.
func batch(lines string, args ...string) error {
	cmd := exec.Command("ip", append(args, "-batch", "-")...)
	cmd.Stdin = strings.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// netnsPath is what a process opens to enter the namespace.
func (s *sandbox) netnsPath() string { return filepath.Join("/run/netns", s.netns) }

// dial connects to a port from within the namespace, so that the pod sees its own address 127.0.0.1.
func (s *sandbox) dial(ctx context.Context, port int32) (net.Conn, error) {
	// The thread has to come back: were it to end in the pod's namespace, the kernel would kill what was started from it
	// (Pdeathsig), which may be any container or component.
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer home.Close()
	namespace, err := os.Open(s.netnsPath())
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer namespace.Close()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprintf("a thread cannot leave the namespace of a pod: %v", err))
	}
	runtime.UnlockOSThread()
	return conn, err
}

func (s *sandbox) close() {
	// The pair first: it goes at once, while a namespace goes when the kernel finds the time, and until then would answer
	// for an address that is the next pod's.
	_ = cluster.IP("link", "del", s.link)
	_ = cluster.IP("netns", "del", s.netns)
	_ = os.RemoveAll(s.dir)
	s.ips.release(s.index)
}
