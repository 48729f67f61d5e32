package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

// load sends requests from several clients, one after the other each, until it is stopped, and remembers what went
// wrong. A client keeps its connection, as clients do.
type load struct {
	name    string
	stop    chan struct{}
	clients sync.WaitGroup

	mu       sync.Mutex
	sent     int
	upstream map[string]int
	failures map[string]int
	first    string
	slowest  time.Duration
}

// loadClients is how many requests are under way at any time.
const loadClients = 8

var ports = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+):\d+`)

// startLoad begins to send; reconnect has clients send a request again, once, that died with its connection before
// any answer: what every load balancer and client library does when a server's process is gone.
func startLoad(name string, send func() (*answer, error), reconnect bool) *load {
	l := &load{name: name, stop: make(chan struct{}), upstream: map[string]int{}, failures: map[string]int{}}
	for range loadClients {
		l.clients.Add(1)
		go func() {
			defer l.clients.Done()
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				begin := time.Now()
				got, err := send()
				for tries := 0; err != nil && reconnect && tries < 20; tries++ {
					time.Sleep(50 * time.Millisecond)
					got, err = send()
				}
				l.count(got, err, time.Since(begin))
			}
		}()
	}
	return l
}

func (l *load) count(got *answer, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.slowest = max(l.slowest, took)
	problem := ""
	switch {
	case err != nil:
		// Without the client's port, which makes each message another.
		problem = "no answer: " + ports.ReplaceAllString(err.Error(), "$1")
	case got.status != 200:
		problem = fmt.Sprintf("status %d: %.200s", got.status, got.body)
	default:
		l.upstream[got.upstream()]++
		return
	}
	l.failures[problem]++
	if l.first == "" {
		l.first = time.Now().Format("15:04:05.000 ") + problem
	}
}

// progress waits until so many further requests were sent: the way in which tests let time pass.
func (l *load) progress(t *testing.T, requests int) {
	t.Helper()
	l.mu.Lock()
	goal := l.sent + requests
	l.mu.Unlock()
	eventually(t, fmt.Sprintf("%d further requests", requests), func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.sent < goal {
			return errNotYet
		}
		return nil
	})
}

// end stops the load, prints the figures and fails the test for every failure beyond those allowed.
func (l *load) end(t *testing.T, allowed int) {
	t.Helper()
	close(l.stop)
	l.clients.Wait()
	failed := 0
	for _, problem := range slices.Sorted(maps.Keys(l.failures)) {
		failed += l.failures[problem]
		t.Logf("%d × %s", l.failures[problem], problem)
	}
	t.Logf("FIGURE %s: %d requests, %d failed, slowest %d ms", l.name, l.sent, failed, l.slowest.Milliseconds())
	if failed > allowed {
		t.Errorf("%s: %d of %d requests failed, and %d could not have been served; the first: %s", l.name, failed, l.sent, allowed, l.first)
	}
	if l.sent == 0 {
		t.Errorf("%s: no request was sent", l.name)
	}
}
