package node

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	expansion "k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environment resolves a container's variables. Of the services only `kubernetes` is announced.
func environment(ctx context.Context, client kubernetes.Interface, pod *core.Pod, container *core.Container, kubernetesIP string) (map[string]string, error) {
	env := map[string]string{
		"PATH":                          "/image:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME":                      pod.Name,
		"KUBERNETES_SERVICE_HOST":       kubernetesIP,
		"KUBERNETES_SERVICE_PORT":       "443",
		"KUBERNETES_SERVICE_PORT_HTTPS": "443",
	}
	for _, from := range container.EnvFrom {
		data, err := envFrom(ctx, client, pod.Namespace, from)
		if err != nil {
			return nil, err
		}
		for key, value := range data {
			env[from.Prefix+key] = value
		}
	}
	for _, variable := range container.Env {
		value := expansion.Expand(variable.Value, expansion.MappingFuncFor(env))
		if variable.ValueFrom != nil {
			var err error
			var found bool
			if value, found, err = valueFrom(ctx, client, pod, container, variable.ValueFrom); err != nil {
				return nil, fmt.Errorf("variable %s: %w", variable.Name, err)
			} else if !found {
				continue
			}
		}
		env[variable.Name] = value
	}
	return env, nil
}

func envFrom(ctx context.Context, client kubernetes.Interface, namespace string, from core.EnvFromSource) (map[string]string, error) {
	data := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		object, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, from.ConfigMapRef.Name, meta.GetOptions{})
		if err != nil {
			return nil, unlessOptional(err, from.ConfigMapRef.Optional)
		}
		maps.Copy(data, object.Data)
	case from.SecretRef != nil:
		object, err := client.CoreV1().Secrets(namespace).Get(ctx, from.SecretRef.Name, meta.GetOptions{})
		if err != nil {
			return nil, unlessOptional(err, from.SecretRef.Optional)
		}
		for key, value := range object.Data {
			data[key] = string(value)
		}
	}
	return data, nil
}

func valueFrom(ctx context.Context, client kubernetes.Interface, pod *core.Pod, container *core.Container, from *core.EnvVarSource) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		value, err := podField(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err := resourceField(container, from.ResourceFieldRef)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		object, err := client.CoreV1().ConfigMaps(pod.Namespace).Get(ctx, ref.Name, meta.GetOptions{})
		if err != nil && !errors.IsNotFound(err) {
			return "", false, err
		}
		value, found := "", false
		if err == nil {
			value, found = object.Data[ref.Key]
		}
		return value, found, missing(found, "configmap", ref.Name, ref.Key, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		object, err := client.CoreV1().Secrets(pod.Namespace).Get(ctx, ref.Name, meta.GetOptions{})
		if err != nil && !errors.IsNotFound(err) {
			return "", false, err
		}
		var value []byte
		found := false
		if err == nil {
			value, found = object.Data[ref.Key]
		}
		return string(value), found, missing(found, "secret", ref.Name, ref.Key, ref.Optional)
	}
	return "", false, fmt.Errorf("this source of a value is not supported")
}

func missing(found bool, kind, name, key string, optional *bool) error {
	if found || optional != nil && *optional {
		return nil
	}
	return fmt.Errorf("%s %q or its key %q not found", kind, name, key)
}

// podField reads what a fieldRef may name.
func podField(pod *core.Pod, path string) (string, error) {
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return pod.Status.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP, nil
	case "metadata.labels":
		return joined(pod.Labels), nil
	case "metadata.annotations":
		return joined(pod.Annotations), nil
	}
	for prefix, values := range map[string]map[string]string{"metadata.labels['": pod.Labels, "metadata.annotations['": pod.Annotations} {
		if key, ok := strings.CutPrefix(path, prefix); ok {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("field %s is not supported", path)
}

func joined(values map[string]string) string {
	var lines []string
	for key, value := range values {
		lines = append(lines, key+"="+strconv.Quote(value))
	}
	return strings.Join(lines, "\n")
}

func resourceField(container *core.Container, ref *core.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := container.Resources.Limits
	if kind == "requests" {
		list = container.Resources.Requests
	}
	quantity, found := list[core.ResourceName(name)]
	if !found {
		return "", fmt.Errorf("resource %s is not set, and the node's own size is not handed out", ref.Resource)
	}
	divisor := int64(1)
	if !ref.Divisor.IsZero() {
		divisor = ref.Divisor.Value()
	}
	return strconv.FormatInt((quantity.Value()+divisor-1)/divisor, 10), nil
}
