// Package cluster runs the control plane of one test cluster: etcd, API server, controller manager and scheduler as
// processes of this machine, each on addresses that belong to this cluster alone, so that several run side by side.
package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

// Root is where clusters keep what they need while they run; nothing in it outlives `down`. It is in memory where there
// is such a place: while a build is written back to a shared disk, etcd's fsync and every line that is written to a log
// wait for seconds, and so would the API server and the pods.
var Root = root()

func root() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm/penstock-testbed"
	}
	return "/run/penstock-testbed"
}

// maxInstances bounds the indexes: one /16 of 10.0.0.0/8 each, from firstOctet on.
const (
	maxInstances = 40
	firstOctet   = 200
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$`)

// Instance is one cluster's name, and the index that its addresses are derived from.
type Instance struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
}

// ErrNoInstance says that no cluster of that name exists.
var ErrNoInstance = errors.New("no such cluster")

// Open reads an existing instance.
func Open(name string) (*Instance, error) {
	data, err := os.ReadFile(filepath.Join(Root, name, "instance.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoInstance, name)
	} else if err != nil {
		return nil, err
	}
	instance := &Instance{}
	return instance, json.Unmarshal(data, instance)
}

// Create claims the lowest index that no other cluster of this machine has.
func Create(name string) (*Instance, error) {
	if !namePattern.MatchString(name) {
		return nil, fmt.Errorf("%q is not a cluster name: use up to 30 lower case letters, digits and '-'", name)
	}
	if err := claimRoot(); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(Root, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	if _, err := Open(name); err == nil {
		return nil, fmt.Errorf("the cluster %s exists; end it with `testbed/cluster.sh down %s`", name, name)
	}
	taken := map[int]bool{}
	for _, other := range List() {
		taken[other.Index] = true
	}
	for index := range maxInstances {
		instance := &Instance{Name: name, Index: index}
		if _, err := net.InterfaceByName(instance.Bridge()); taken[index] || err == nil {
			continue
		}
		data, err := json.Marshal(instance)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(instance.Path("logs"), 0o755); err != nil {
			return nil, err
		}
		return instance, os.WriteFile(instance.Path("instance.json"), data, 0o644)
	}
	return nil, fmt.Errorf("%d clusters run already; `testbed/cluster.sh list` names them", maxInstances)
}

// claimRoot makes the root, which lies in a directory that everybody may write to.
func claimRoot() error {
	if err := os.MkdirAll(Root, 0o755); err != nil {
		return err
	}
	info, err := os.Lstat(Root)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(stat.Uid) != os.Getuid() {
		return fmt.Errorf("%s is not a directory of this user: remove it", Root)
	}
	return nil
}

// List returns all clusters of this machine.
func List() []*Instance {
	files, _ := filepath.Glob(filepath.Join(Root, "*", "instance.json"))
	var all []*Instance
	for _, file := range files {
		if instance, err := Open(filepath.Base(filepath.Dir(file))); err == nil {
			all = append(all, instance)
		}
	}
	return all
}

// Path joins parts below the cluster's directory.
func (i *Instance) Path(parts ...string) string {
	return filepath.Join(append([]string{Root, i.Name}, parts...)...)
}

// EtcdDir is where etcd keeps its data.
func (i *Instance) EtcdDir() string { return i.Path("etcd") }

// Bridge is the network device that the pods hang on.
func (i *Instance) Bridge() string { return fmt.Sprintf("ptb%d", i.Index) }

// NodeIP is the address of the n-th node (from 0), and for n = 0 the API server's.
func (i *Instance) NodeIP(n int) string { return fmt.Sprintf("10.%d.0.%d", firstOctet+i.Index, 1+n) }

// PodCIDR holds the pods' addresses; nodes share one range, since all pods are on one bridge.
func (i *Instance) PodCIDR() string { return fmt.Sprintf("10.%d.0.0/17", firstOctet+i.Index) }

// PodIP is the n-th address for pods, from 0.
func (i *Instance) PodIP(n int) string {
	return fmt.Sprintf("10.%d.%d.%d", firstOctet+i.Index, 1+n/250, 1+n%250)
}

// MaxPods is the number of addresses for pods.
const MaxPods = 120 * 250

// LoadBalancerIP is the n-th address for Services of type LoadBalancer, above the pods'.
func (i *Instance) LoadBalancerIP(n int) string {
	return fmt.Sprintf("10.%d.127.%d", firstOctet+i.Index, 1+n%250)
}

// ServiceCIDR holds the ClusterIPs.
func (i *Instance) ServiceCIDR() string { return fmt.Sprintf("10.%d.128.0/17", firstOctet+i.Index) }

// KubernetesServiceIP is the ClusterIP of default/kubernetes.
func (i *Instance) KubernetesServiceIP() string {
	return fmt.Sprintf("10.%d.128.1", firstOctet+i.Index)
}

// Loopback is where etcd listens, out of the pods' reach.
func (i *Instance) Loopback() string { return fmt.Sprintf("127.%d.0.1", firstOctet+i.Index) }

// APIServer is the API server's URL for the host.
func (i *Instance) APIServer() string {
	return fmt.Sprintf("https://%s:%d", i.NodeIP(0), APIServerPort)
}

// APIServerPort is the same for all clusters, since each has its own address.
const APIServerPort = 6443
