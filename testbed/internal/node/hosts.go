package node

import (
	"context"
	"fmt"
	"net"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Names that all pods know are in this ConfigMap, in the form of /etc/hosts. It stands in for the cluster's DNS, which
// can be told such names too (CoreDNS's plugin hosts).
const (
	namesNamespace = "kube-system"
	namesConfigMap = "testbed-names"
	namesKey       = "hosts"
)

// hosts is a pod's /etc/hosts: itself, its host aliases, and the names that all pods know.
func hosts(ctx context.Context, client kubernetes.Interface, pod *core.Pod) (string, error) {
	var text strings.Builder
	text.WriteString("127.0.0.1 localhost\n")
	for _, alias := range pod.Spec.HostAliases {
		fmt.Fprintf(&text, "%s %s\n", alias.IP, strings.Join(alias.Hostnames, " "))
	}
	names, err := client.CoreV1().ConfigMaps(namesNamespace).Get(ctx, namesConfigMap, meta.GetOptions{})
	if errors.IsNotFound(err) {
		return text.String(), nil
	} else if err != nil {
		return "", err
	}
	for _, line := range strings.Split(names.Data[namesKey], "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		// A line that libc does not understand is skipped by it without a word.
		if net.ParseIP(fields[0]) == nil || len(fields) == 1 {
			return "", fmt.Errorf("configmap %s/%s: %q is no line of a hosts file", namesNamespace, namesConfigMap, line)
		}
		fmt.Fprintln(&text, strings.Join(fields, " "))
	}
	return text.String(), nil
}
