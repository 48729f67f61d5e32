package node

import (
	"errors"
	"sync"

	"penstock.dev/testbed/internal/cluster"
)

// Addresses hands out pod IPs. The one that was freed last is next, so that an address comes back as another pod at
// once: the case that goes wrong elsewhere is the rule here.
type Addresses struct {
	mu   sync.Mutex
	used int // addresses that were ever handed out
	free []int
}

var errNoAddress = errors.New("no pod address is free")

func (a *Addresses) take() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := len(a.free) - 1; last >= 0 {
		n := a.free[last]
		a.free = a.free[:last]
		return n, nil
	}
	if a.used == cluster.MaxPods {
		return 0, errNoAddress
	}
	a.used++
	return a.used - 1, nil
}

func (a *Addresses) release(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free = append(a.free, n)
}
