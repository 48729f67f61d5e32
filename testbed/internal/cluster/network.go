package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// IP runs iproute2's `ip`.
func IP(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// netnsPrefix begins the names of this cluster's network namespaces.
func (i *Instance) netnsPrefix() string { return i.Bridge() + "-" }

// Netns is the name of the network namespace for the pod with this UID.
func (i *Instance) Netns(uid string) string { return i.netnsPrefix() + uid }

// Hardware is an address's MAC address, as CNI's bridge plugin has it: an address that comes back as another pod's is
// reached at once, and not only after its neighbours have found out that the old MAC address does not answer any more.
func Hardware(ip string) string {
	v4 := net.ParseIP(ip).To4()
	return net.HardwareAddr(append([]byte{0x0a, 0x58}, v4...)).String()
}

// createBridge makes the device that the pods hang on. It carries the nodes' addresses and later the ClusterIPs, so
// that all of them are local to the host and nothing needs to be forwarded or translated. Its MAC address is set, or it
// would be the lowest of its ports' and change as pods come and go: what a pod sends would arrive again only once it had
// found that out, seconds or a minute later.
func (i *Instance) createBridge(nodes int) error {
	steps := [][]string{
		{"link", "add", i.Bridge(), "address", Hardware(i.NodeIP(0)), "type", "bridge"},
		{"link", "set", i.Bridge(), "up"},
	}
	for n := range nodes {
		// All addresses of the cluster are one network; only the first brings the route.
		length := 32
		if n == 0 {
			length = 16
		}
		steps = append(steps, []string{"addr", "add", fmt.Sprintf("%s/%d", i.NodeIP(n), length), "dev", i.Bridge()})
	}
	for _, step := range steps {
		if err := IP(step...); err != nil {
			return err
		}
	}
	return nil
}

// removeNetwork removes what createBridge and the pods made. What is not there is no error.
func (i *Instance) removeNetwork() {
	names, _ := filepath.Glob("/run/netns/" + i.netnsPrefix() + "*")
	for _, name := range names {
		_ = IP("netns", "del", filepath.Base(name))
	}
	_ = IP("link", "del", i.Bridge())
}

// Remove removes what a cluster left behind whose supervisor is gone.
func (i *Instance) Remove() {
	i.removeNetwork()
	_ = os.RemoveAll(i.Path())
}
