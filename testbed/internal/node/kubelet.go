package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const kubeletPort = 10250

// ServeKubelet answers what `kubectl logs`, `exec` and `port-forward` ask; the API server alone may ask it.
func (a *Agent) ServeKubelet(ctx context.Context) error {
	pki := func(file string) string { return a.Path("pki", file) }
	certificate, err := tls.LoadX509KeyPair(pki("kubelet.crt"), pki("kubelet.key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(pki("ca.crt"))
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	mux := http.NewServeMux()
	handle := func(path string, serve func(*podWorker, http.ResponseWriter, *http.Request)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			worker := a.find(r.PathValue("namespace"), r.PathValue("pod"))
			if worker == nil || !worker.hasSandbox() {
				http.Error(w, "the pod does not run on this node", http.StatusNotFound)
				return
			}
			serve(worker, w, r)
		})
	}
	handle("GET /containerLogs/{namespace}/{pod}/{container}", (*podWorker).serveLog)
	handle("/exec/{namespace}/{pod}/{container}", (*podWorker).serveExec)
	handle("/portForward/{namespace}/{pod}", (*podWorker).servePortForward)
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
	}}
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", a.IP, kubeletPort))
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (w *podWorker) serveLog(out http.ResponseWriter, r *http.Request) {
	found := w.container(r.PathValue("container"))
	if found == nil {
		http.Error(out, "the pod has no such container", http.StatusNotFound)
		return
	}
	path := found.logFile()
	if r.FormValue("previous") == "true" {
		path += ".previous"
	}
	file, err := os.Open(path)
	if err != nil {
		http.Error(out, "the container has no log yet", http.StatusNotFound)
		return
	}
	defer file.Close()
	if lines, err := strconv.Atoi(r.FormValue("tailLines")); err == nil {
		seekTail(file, lines)
	}
	_, _ = io.Copy(out, file)
	for r.FormValue("follow") == "true" && r.Context().Err() == nil && !isClosed(w.done) {
		if flusher, ok := out.(http.Flusher); ok {
			flusher.Flush()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(200 * time.Millisecond):
		}
		_, _ = io.Copy(out, file)
	}
}

// seekTail goes back from the end of the file by so many lines.
func seekTail(file *os.File, lines int) {
	data, err := io.ReadAll(file)
	if err != nil {
		return
	}
	at := len(data)
	for n := 0; at > 0; at-- {
		if data[at-1] == '\n' && at != len(data) {
			if n++; n == lines {
				break
			}
		}
	}
	if lines == 0 {
		at = len(data)
	}
	_, _ = file.Seek(int64(at), io.SeekStart)
}
