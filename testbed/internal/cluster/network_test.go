package cluster

import (
	"net"
	"os"
	"testing"
)

// TestTheBridgeKeepsItsAddress adds a port whose MAC address is lower than any that a pod gets.
func TestTheBridgeKeepsItsAddress(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network devices are root's")
	}
	// One past those that clusters get.
	instance := &Instance{Name: "bridge", Index: maxInstances}
	instance.removeNetwork()
	t.Cleanup(instance.removeNetwork)
	if err := instance.createBridge(1); err != nil {
		t.Fatal(err)
	}
	hardware := func() string {
		device, err := net.InterfaceByName(instance.Bridge())
		if err != nil {
			t.Fatal(err)
		}
		return device.HardwareAddr.String()
	}
	before, port := hardware(), instance.Bridge()+"-0"
	if err := IP("link", "add", port, "address", "02:00:00:00:00:01", "master", instance.Bridge(), "type", "veth", "peer", "name", port+"p"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = IP("link", "del", port) })
	if after := hardware(); after != before {
		t.Errorf("%s became %s: pods go on sending to the one before", before, after)
	}
}
