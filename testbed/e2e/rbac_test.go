package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TestTheDataPlanesTokenReadsItsOwnObjectsOnly tries, as the data plane, everything that the API server lists.
func TestTheDataPlanesTokenReadsItsOwnObjectsOnly(t *testing.T) {
	ns, _ := served(t)
	ctx := context.Background()
	for _, kind := range []string{"ConfigMap", "Secret"} {
		apply(t, ns, fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata:\n  name: not-yours\n", kind))
	}
	pod := running(t, ns, "gw")[0]
	plane := as(t, ns, pod.Spec.ServiceAccountName)

	maps, err := env.client.CoreV1().ConfigMaps(ns).List(ctx, meta.ListOptions{LabelSelector: gatewayLabel + "=gw"})
	if err != nil || len(maps.Items) == 0 {
		t.Fatalf("the gateway has %d config maps (%v)", len(maps.Items), err)
	}
	for _, own := range maps.Items {
		if _, err := plane.CoreV1().ConfigMaps(ns).Get(ctx, own.Name, meta.GetOptions{}); err != nil {
			t.Errorf("its own config map cannot be read: %v", err)
		}
		byName := meta.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", own.Name).String()}
		if _, err := plane.CoreV1().ConfigMaps(ns).List(ctx, byName); err != nil {
			t.Errorf("its own config map cannot be watched: %v", err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.IsForbidden(err) {
			t.Errorf("the data plane's token may %s (%v)", what, err)
		}
	}
	_, err = plane.CoreV1().ConfigMaps(ns).Get(ctx, "not-yours", meta.GetOptions{})
	refused("read another config map", err)
	_, err = plane.CoreV1().Secrets(ns).Get(ctx, "not-yours", meta.GetOptions{})
	refused("read another secret", err)
	own := maps.Items[0].DeepCopy()
	own.Data = map[string]string{"routing.yaml": "mine now"}
	_, err = plane.CoreV1().ConfigMaps(ns).Update(ctx, own, meta.UpdateOptions{})
	refused("write its own config map", err)
	refused("delete its own config map", plane.CoreV1().ConfigMaps(ns).Delete(ctx, own.Name, meta.DeleteOptions{}))
	listEverything(t, plane, ns)
}

// as returns a client with a token of a service account.
func as(t *testing.T, ns, account string) kubernetes.Interface {
	t.Helper()
	answer, err := env.client.CoreV1().ServiceAccounts(ns).
		CreateToken(context.Background(), account, &authentication.TokenRequest{}, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := env.AdminConfig()
	if err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(admin)
	config.BearerToken = answer.Status.Token
	config.QPS = -1
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// listEverything tries to list every resource that the API server has, in its namespace and in all.
func listEverything(t *testing.T, plane kubernetes.Interface, ns string) {
	t.Helper()
	groups, err := env.client.Discovery().ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, group := range groups {
		prefix := "/apis/" + group.GroupVersion
		if group.GroupVersion == core.SchemeGroupVersion.String() {
			prefix = "/api/v1"
		}
		for _, resource := range group.APIResources {
			if strings.Contains(resource.Name, "/") || !strings.Contains(resource.Verbs.String(), "list") {
				continue
			}
			paths := []string{prefix + "/" + resource.Name}
			if resource.Namespaced {
				paths = append(paths, prefix+"/namespaces/"+ns+"/"+resource.Name)
			}
			for _, path := range paths {
				tried++
				if err := plane.Discovery().RESTClient().Get().AbsPath(path).Do(context.Background()).Error(); !errors.IsForbidden(err) {
					t.Errorf("the data plane's token may list %s (%v)", path, err)
				}
			}
		}
	}
	t.Logf("FIGURE %d lists were tried with the data plane's token and refused", tried)
}
