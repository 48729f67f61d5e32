package node

import (
	"errors"
	"sync"

	"penstock.dev/testbed/internal/cluster"
)

// Addresses hands out pod IPs. The lowest free one is next, so that an address comes back as another pod at once: the
// case that goes wrong elsewhere is the rule here.
type Addresses struct {
	Instance *cluster.Instance

	mu    sync.Mutex
	taken map[int]bool
}

var errNoAddress = errors.New("no pod address is free")

func (a *Addresses) take() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken == nil {
		a.taken = map[int]bool{}
	}
	for n := range cluster.MaxPods {
		if !a.taken[n] {
			a.taken[n] = true
			return n, nil
		}
	}
	return 0, errNoAddress
}

func (a *Addresses) release(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.taken, n)
}
