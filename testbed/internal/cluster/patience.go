package cluster

import (
	"errors"
	"net/http"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// knockPeriod is how often a patient client tries to connect to an API server that is down.
const knockPeriod = 200 * time.Millisecond

// Patient makes clients of this configuration wait while nobody listens at the API server's address, until the
// request's context ends. client-go's watches would see each refusal, and wait for up to a minute before they look again,
// twice if the server then says that their revision has expired; what a node and its service proxy miss meanwhile is not
// what a test is about.
func Patient(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return patient{next} })
	return config
}

type patient struct{ next http.RoundTripper }

// RoundTrip sends the request until its connection is not refused. Nothing of a refused one has been sent.
func (p patient) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Body != nil && request.GetBody != nil {
		defer request.Body.Close()
	}
	for {
		attempt := request.Clone(request.Context())
		if request.GetBody != nil {
			body, err := request.GetBody()
			if err != nil {
				return nil, err
			}
			attempt.Body = body
		}
		response, err := p.next.RoundTrip(attempt)
		canRepeat := request.Body == nil || request.GetBody != nil
		if !errors.Is(err, syscall.ECONNREFUSED) || !canRepeat {
			return response, err
		}
		select {
		case <-request.Context().Done():
			return nil, request.Context().Err()
		case <-time.After(knockPeriod):
		}
	}
}
