package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"time"

	"k8s.io/apimachinery/pkg/types"
	protocols "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	streaming "k8s.io/kubelet/pkg/cri/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	streamIdle     = time.Hour
	streamCreation = 30 * time.Second
)

var errNoTerminal = errors.New("the test cluster's node has no terminals: leave -t out")

// servePortForward answers `kubectl port-forward`.
func (w *podWorker) servePortForward(out http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(out, r, w, w.pod.Name, w.pod.UID, options, streamIdle, streamCreation, portforward.SupportedProtocols)
}

// PortForward joins one stream with a port of the pod, on its loopback interface.
func (w *podWorker) PortForward(ctx context.Context, _ string, _ types.UID, port int32, stream io.ReadWriteCloser) error {
	conn, err := w.sandbox.dial(ctx, port)
	if err != nil {
		return err
	}
	defer conn.Close()
	done := make(chan error, 2)
	go func() {
		_, err := io.Copy(conn, stream)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		done <- err
	}()
	go func() {
		_, err := io.Copy(stream, conn)
		done <- err
		_ = stream.Close()
	}()
	return errors.Join(<-done, <-done)
}

// serveExec answers `kubectl exec`, without terminals.
func (w *podWorker) serveExec(out http.ResponseWriter, r *http.Request) {
	options, err := streaming.NewOptions(r)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
		return
	}
	streaming.ServeExec(out, r, w, w.pod.Name, w.pod.UID, r.PathValue("container"), r.URL.Query()["command"], options,
		streamIdle, streamCreation, protocols.SupportedStreamingProtocols)
}

// ExecInContainer runs a command in a container's namespaces.
func (w *podWorker) ExecInContainer(ctx context.Context, _ string, _ types.UID, name string, command []string, in io.Reader,
	out, errs io.WriteCloser, tty bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	if tty {
		return errNoTerminal
	}
	c := w.container(name)
	if c == nil {
		return fmt.Errorf("the pod has no container %s", name)
	}
	cmd := c.command(ctx, command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, errs
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return utilexec.CodeExitError{Err: err, Code: exit.ExitCode()}
	}
	return err
}
