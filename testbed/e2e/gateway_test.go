package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// gatewayName is how Penstock's objects for a Gateway are found.
const gatewayLabel = "gateway.networking.k8s.io/gateway-name"

// awaitGateway waits until a Gateway is programmed, and returns the URL of one of its listeners as the host reaches it.
func awaitGateway(t *testing.T, namespace, name string, port int32) string {
	t.Helper()
	awaitCondition(t, "Gateway", namespace, name, "Programmed", meta.ConditionTrue)
	url := ""
	eventually(t, "address of gateway "+name, func() error {
		list, err := env.client.CoreV1().Services(namespace).List(context.Background(), meta.ListOptions{LabelSelector: gatewayLabel + "=" + name})
		if err != nil {
			return err
		}
		for _, service := range list.Items {
			if url = serviceURL(&service, port); url != "" {
				return nil
			}
		}
		return fmt.Errorf("no service among %d has port %d", len(list.Items), port)
	})
	return url
}

func serviceURL(service *core.Service, port int32) string {
	for _, p := range service.Spec.Ports {
		switch {
		case p.Port != port:
		case p.NodePort != 0:
			return fmt.Sprintf("http://%s:%d", env.NodeIP(0), p.NodePort)
		default:
			return fmt.Sprintf("http://%s:%d", service.Spec.ClusterIP, port)
		}
	}
	return ""
}

// dataPlane is the name of a Gateway's Deployment.
func dataPlane(t *testing.T, namespace, gateway string) string {
	t.Helper()
	list, err := env.client.AppsV1().Deployments(namespace).List(context.Background(), meta.ListOptions{LabelSelector: gatewayLabel + "=" + gateway})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("gateway %s has %d deployments (%v)", gateway, len(list.Items), err)
	}
	return list.Items[0].Name
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// pod is the upstream pod that answered, as far as the test upstream and the simulator tell.
func (a *answer) upstream() string { return a.header.Get("testupstream-id") }

var client = &http.Client{
	Timeout:   30 * time.Second,
	Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

type option func(*http.Request)

func withHeader(name, value string) option {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func withHost(host string) option { return func(r *http.Request) { r.Host = host } }

// post sends a body to a path.
func post(url, path string, body []byte, options ...option) (*answer, error) {
	request, err := http.NewRequest(http.MethodPost, url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("content-type", "application/json")
	for _, o := range options {
		o(request)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &answer{response.StatusCode, response.Header, string(text)}, nil
}

// chat is the walkthrough's request.
func chat(model string) []byte {
	body, err := json.Marshal(map[string]any{
		"model":    model,
		"messages": []map[string]string{{"role": "user", "content": "Hi. Say this is a test"}},
	})
	if err != nil {
		panic(err)
	}
	return body
}

// ask sends one chat completion for a model.
func ask(url, model string, options ...option) (*answer, error) {
	return post(url, "/v1/chat/completions", chat(model), options...)
}

// awaitAnswer asks until the answer has this status, and returns it.
func awaitAnswer(t *testing.T, url, model string, status int, options ...option) *answer {
	t.Helper()
	var got *answer
	eventually(t, fmt.Sprintf("an answer %d for model %s", status, model), func() error {
		var err error
		if got, err = ask(url, model, options...); err != nil {
			return err
		}
		if got.status != status {
			return fmt.Errorf("status %d: %.300s", got.status, got.body)
		}
		return nil
	})
	return got
}

// expectChat checks that an answer is a chat completion.
func expectChat(t *testing.T, got *answer) {
	t.Helper()
	var completion struct {
		Choices []struct {
			Message struct{ Role, Content string }
		}
	}
	if err := json.Unmarshal([]byte(got.body), &completion); err != nil || len(completion.Choices) == 0 || strings.TrimSpace(completion.Choices[0].Message.Content) == "" {
		t.Errorf("no chat completion (%v): %.300s", err, got.body)
	}
}
