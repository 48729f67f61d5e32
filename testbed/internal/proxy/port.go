package proxy

import (
	"context"
	"io"
	"log"
	"net"
	"sync"
	"time"
)

// port is one address that is listened on, and the endpoints behind it in turn.
type port struct {
	listener net.Listener

	mu       sync.Mutex
	backends []string
	next     int
}

func listen(ctx context.Context, address string, backends []string) (*port, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	p := &port{listener: listener, backends: backends}
	go p.accept(ctx)
	return p, nil
}

func (p *port) set(backends []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backends = backends
}

// pick takes the endpoints in turn. Which one it is, is not looked at again: like a packet filter, this does not try
// another endpoint for a connection.
func (p *port) pick() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.backends) == 0 {
		return ""
	}
	p.next++
	return p.backends[p.next%len(p.backends)]
}

func (p *port) close() { _ = p.listener.Close() }

func (p *port) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.pass(ctx, client.(*net.TCPConn))
	}
}

// pass joins a client and an endpoint. Established connections outlive changes of the endpoints, as they do with a
// packet filter. Without an endpoint the client sees a reset.
func (p *port) pass(ctx context.Context, client *net.TCPConn) {
	defer client.Close()
	address := p.pick()
	if address == "" {
		_ = client.SetLinger(0)
		return
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		log.Printf("proxy: %s: %v", p.listener.Addr(), err)
		_ = client.SetLinger(0)
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	var both sync.WaitGroup
	both.Add(2)
	join := func(to, from *net.TCPConn) {
		defer both.Done()
		if _, err := io.Copy(to, from); err != nil {
			// One side was reset: so is the other.
			_ = to.SetLinger(0)
			_ = to.Close()
			_ = from.Close()
			return
		}
		_ = to.CloseWrite()
	}
	go join(server, client)
	go join(client, server)
	both.Wait()
}
