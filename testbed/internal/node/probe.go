package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probe runs the container's three probes until the process has ended: startup first, then the others side by side.
func (c *container) probe(ctx context.Context, begin time.Time) {
	if c.spec.StartupProbe != nil && !c.awaitStartup(ctx, begin) {
		return
	}
	yes := true
	c.set(func(s *core.ContainerStatus) {
		s.Started = &yes
		s.Ready = c.spec.ReadinessProbe == nil
	})
	c.mu.Lock()
	select {
	case <-c.started:
	default:
		close(c.started)
	}
	c.mu.Unlock()
	liveness := make(chan struct{})
	go func() {
		defer close(liveness)
		c.loop(ctx, c.spec.LivenessProbe, begin, func(ok bool) bool {
			if !ok {
				c.kill()
			}
			return ok
		})
	}()
	c.loop(ctx, c.spec.ReadinessProbe, begin, func(ok bool) bool {
		if c.snapshot().Ready != ok {
			c.set(func(s *core.ContainerStatus) { s.Ready = ok })
		}
		return true
	})
	<-liveness
}

func (c *container) awaitStartup(ctx context.Context, begin time.Time) bool {
	started := false
	c.loop(ctx, c.spec.StartupProbe, begin, func(ok bool) bool {
		started = ok
		if !ok {
			c.kill()
		}
		return false
	})
	return started
}

// kill ends a container that its probe found dead; its restart policy decides what comes next.
func (c *container) kill() {
	c.mu.Lock()
	pid, exited := c.pid, c.exited
	c.mu.Unlock()
	_ = syscall.Kill(pid, syscall.SIGTERM)
	go func() {
		select {
		case <-exited:
		case <-time.After(c.worker.grace()):
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}()
}

// loop probes at the probe's period and calls decided whenever a threshold is reached, until that returns false.
func (c *container) loop(ctx context.Context, p *core.Probe, begin time.Time, decided func(bool) bool) {
	if p == nil {
		return
	}
	wait := time.Until(begin.Add(time.Duration(p.InitialDelaySeconds) * time.Second))
	succeeded, failed := int32(0), int32(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait, 0)):
		}
		wait = time.Duration(max(p.PeriodSeconds, 1)) * time.Second
		err := c.check(ctx, p)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			succeeded, failed = succeeded+1, 0
		} else {
			succeeded, failed = 0, failed+1
		}
		switch {
		case succeeded >= max(p.SuccessThreshold, 1):
			if !decided(true) {
				return
			}
			// A startup or liveness probe that succeeds is looked at again; only a failure ends it.
		case failed >= max(p.FailureThreshold, 1):
			if !decided(false) {
				return
			}
		case p == c.spec.ReadinessProbe && succeeded+failed == 1 && !c.snapshot().Ready:
			// A kubelet probes an unready container sooner than at the next period; so does this.
			wait = min(wait, time.Second)
		}
	}
}

func (c *container) check(ctx context.Context, p *core.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	ip := c.worker.sandbox.ip
	switch {
	case p.HTTPGet != nil:
		return c.httpGet(ctx, p.HTTPGet)
	case p.TCPSocket != nil:
		port, err := c.port(p.TCPSocket.Port)
		if err != nil {
			return err
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(ip, port))
		if err == nil {
			_ = conn.Close()
		}
		return err
	case p.GRPC != nil:
		return checkGRPC(ctx, net.JoinHostPort(ip, strconv.Itoa(int(p.GRPC.Port))), p.GRPC.Service)
	case p.Exec != nil:
		return c.exec(ctx, p.Exec.Command)
	}
	return nil
}

// probeClient takes a connection of its own for each probe, as a kubelet does, and trusts any certificate.
var probeClient = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

func (c *container) httpGet(ctx context.Context, get *core.HTTPGetAction) error {
	port, err := c.port(get.Port)
	if err != nil {
		return err
	}
	host := get.Host
	if host == "" {
		host = c.worker.sandbox.ip
	}
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	address := fmt.Sprintf("%s://%s/%s", scheme, net.JoinHostPort(host, port), strings.TrimPrefix(get.Path, "/"))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	for _, header := range get.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	response, err := probeClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	return nil
}

func (c *container) port(port intstr.IntOrString) (string, error) {
	if port.Type == intstr.Int {
		return strconv.Itoa(port.IntValue()), nil
	}
	for _, named := range c.spec.Ports {
		if named.Name == port.StrVal {
			return strconv.Itoa(int(named.ContainerPort)), nil
		}
	}
	return "", fmt.Errorf("the container has no port %q", port.StrVal)
}

func checkGRPC(ctx context.Context, address string, service *string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	request := &grpc_health_v1.HealthCheckRequest{}
	if service != nil {
		request.Service = *service
	}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, request)
	if err == nil && answer.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		err = fmt.Errorf("%s answers %s", address, answer.Status)
	}
	return err
}
