package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// TestPatient sends to an address where nobody listens yet: the request arrives whole once somebody does.
func TestPatient(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	client, err := rest.HTTPClientFor(Patient(&rest.Config{Host: "http://" + address}))
	if err != nil {
		t.Fatal(err)
	}
	impatient, cancel := context.WithTimeout(t.Context(), 3*knockPeriod)
	defer cancel()
	request, _ := http.NewRequestWithContext(impatient, http.MethodGet, "http://"+address, nil)
	if _, err := client.Do(request); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("want the end of the context, got %v", err)
	}

	bodies := make(chan string, 1)
	time.AfterFunc(2*knockPeriod, func() {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { listener.Close() })
		_ = http.Serve(listener, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			bodies <- string(body)
		}))
	})
	patient, give := context.WithTimeout(t.Context(), time.Minute)
	defer give()
	request, _ = http.NewRequestWithContext(patient, http.MethodPost, "http://"+address, strings.NewReader("whole"))
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if body := <-bodies; body != "whole" {
		t.Errorf("the server got %q", body)
	}
}
