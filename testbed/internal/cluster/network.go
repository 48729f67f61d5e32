package cluster

import (
	"fmt"
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

// createBridge makes the device that the pods hang on. It carries the nodes' addresses and later the ClusterIPs, so
// that all of them are local to the host and nothing needs to be forwarded or translated.
func (i *Instance) createBridge(nodes int) error {
	steps := [][]string{
		{"link", "add", i.Bridge(), "type", "bridge"},
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
