package controller

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pointsman/internal/failover"
)

// Flood sets the breaker over all instances: when more of them want to move
// than this within Window, the cause is more probably our own network than so
// many clusters. A zero field takes its default.
type Flood struct {
	Window time.Duration // 5 min
	Least  int           // 3; this many may always want to move
	Share  float64       // 0.2 of all instances, rounded down
}

// breaker counts the distinct instances that wanted to move by themselves
// within the window. An instance gets leave only while no more want to than
// the limit, itself included. Whoever got leave is among those who wanted, so
// no window ever sees more than limit different instances start.
type breaker struct {
	mu     sync.Mutex
	set    Flood
	window time.Duration
	limit  int
	traits map[failover.InstanceName][]string  // what an instance depends on
	wanted map[failover.InstanceName]time.Time // newest wish
}

func newBreaker(f Flood, policies []*failover.Policy) *breaker {
	b := &breaker{wanted: make(map[failover.InstanceName]time.Time)}
	b.reset(f, policies)
	return b
}

// reset takes other settings, the present ones where f is zero, and other
// instances. What was wanted counts on, also where the instance is gone: the
// cause may be the same.
func (b *breaker) reset(f Flood, policies []*failover.Policy) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f == (Flood{}) {
		f = b.set
	}
	b.set = f
	if f.Window <= 0 {
		f.Window = 5 * time.Minute
	}
	if f.Least <= 0 {
		f.Least = 3
	}
	if f.Share <= 0 {
		f.Share = 0.2
	}
	b.window = f.Window
	b.limit = max(f.Least, int(f.Share*float64(len(policies))+1e-9))
	b.traits = make(map[failover.InstanceName][]string, len(policies))
	for _, p := range policies {
		b.traits[p.Instance] = traits(p)
	}
}

// traits names what instances may have in common, each once.
func traits(p *failover.Policy) []string {
	var ts []string
	add := func(t string) {
		if !slices.Contains(ts, t) {
			ts = append(ts, t)
		}
	}
	for _, n := range p.Names {
		add("provider " + n.Provider)
		add("zone " + string(n.Zone))
	}
	for _, d := range p.Domains() {
		add("vantages in " + string(d))
	}
	return ts
}

// ask notes that i wants to move at now and says whether it may.
func (b *breaker) ask(i failover.InstanceName, now time.Time) failover.FloodVerdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, at := range b.wanted {
		if now.Sub(at) >= b.window {
			delete(b.wanted, k)
		}
	}
	b.wanted[i] = now
	v := failover.FloodVerdict{OK: len(b.wanted) <= b.limit, Wanting: len(b.wanted), Limit: b.limit}
	if !v.OK {
		v.Hint = b.hint()
	}
	return v
}

// hint says what all who want to move share and not everybody has; where
// nothing sets them apart, what they share.
func (b *breaker) hint() string {
	with := make(map[string]int)  // of the wanting
	total := make(map[string]int) // of all
	var order []string
	for i, ts := range b.traits {
		_, wants := b.wanted[i]
		for _, t := range ts {
			if total[t]++; total[t] == 1 {
				order = append(order, t)
			}
			if wants {
				with[t]++
			}
		}
	}
	slices.Sort(order)
	var apart, shared []string
	for _, t := range order {
		if with[t] < len(b.wanted) {
			continue
		}
		shared = append(shared, t)
		if total[t] < len(b.traits) {
			apart = append(apart, t)
		}
	}
	n := fmt.Sprintf("%d of %d instances want to move within %s", len(b.wanted), len(b.traits), b.window)
	switch {
	case len(apart) > 0:
		return n + "; all of these, but not all instances, depend on " + strings.Join(apart, ", ") + ": look there first"
	case len(shared) > 0:
		return n + "; they all depend on " + strings.Join(shared, ", ") + ": look there first"
	default:
		return n + "; they have neither provider, zone nor vantages in common: look at this machine's own network"
	}
}

// most is how many instances may want to move.
func (b *breaker) most() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.limit
}
