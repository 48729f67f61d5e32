package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// Serve answers on the cluster's control socket until the context ends: tests stop and start components with it.
//
//	GET  /components                      {"etcd": true, …}
//	POST /components/{name}/{action}      stop (SIGTERM), kill (SIGKILL), start; answers when it is done
//	POST /snapshot?file=…, /restore?file=…
func (s *Supervisor) Serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /components", s.list)
	mux.HandleFunc("POST /components/{name}/{action}", answer(s.act))
	mux.HandleFunc("POST /snapshot", answer(func(r *http.Request) error { return s.Snapshot(r.Context(), r.FormValue("file")) }))
	mux.HandleFunc("POST /restore", answer(func(r *http.Request) error { return s.Restore(r.Context(), r.FormValue("file")) }))
	listener, err := net.Listen("unix", s.Path("control.sock"))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	return server.Serve(listener)
}

func (s *Supervisor) list(w http.ResponseWriter, _ *http.Request) {
	state := map[string]bool{}
	for _, c := range s.components {
		state[c.Name] = c.IsRunning()
	}
	_ = json.NewEncoder(w).Encode(state)
}

func (s *Supervisor) act(r *http.Request) error {
	c, err := s.component(r.PathValue("name"))
	if err != nil {
		return err
	}
	switch action := r.PathValue("action"); action {
	case "stop":
		c.Stop(syscall.SIGTERM)
	case "kill":
		c.Stop(syscall.SIGKILL)
	case "start":
		return c.Start(r.Context())
	default:
		return fmt.Errorf("no action %q; there are stop, kill, start", action)
	}
	return nil
}

func answer(do func(*http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

// Control sends one request to a running cluster's control socket and returns the answer's body.
func (i *Instance) Control(ctx context.Context, method, path string, query url.Values) (string, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", i.Path("control.sock"))
	}}}
	defer client.CloseIdleConnections()
	address := url.URL{Scheme: "http", Host: "testbed", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, method, address.String(), nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", method, path, body)
	}
	return string(body), err
}
