package controller

import (
	"slices"
	"sync"

	"pointsman/internal/failover"
)

// mostPending is how many transitions a subscriber may leave unread. Beyond
// it only the newest of each kind are kept, and when even these are too many
// the subscription ends.
const mostPending = 256

// Subscription collects transitions for one reader.
type Subscription struct {
	changed chan struct{}
	from    *subscribers

	mu      sync.Mutex
	pending []Transition
	ended   bool
}

// Changed holds a token while something is to be taken, and is closed when
// the subscription has ended.
func (s *Subscription) Changed() <-chan struct{} { return s.changed }

// Take returns what has come since the last call, oldest first. The second
// result is false once the subscription has ended: the reader closed it, fell
// too far behind, or the controller stopped. It should then read snapshots
// afresh.
func (s *Subscription) Take() ([]Transition, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := s.pending
	s.pending = nil
	return ts, !s.ended
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.from.remove(s)
	s.end()
}

func (s *Subscription) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.changed)
	}
}

// offer says false when the reader has fallen too far behind.
func (s *Subscription) offer(ts []Transition) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return true
	}
	s.pending = append(s.pending, ts...)
	if len(s.pending) > mostPending {
		s.pending = newestOfEach(s.pending)
	}
	if len(s.pending) > mostPending {
		s.pending = nil
		return false
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return true
}

// newestOfEach keeps the last transition of each kind, instance and cluster.
func newestOfEach(ts []Transition) []Transition {
	type key struct {
		instance failover.InstanceName
		cluster  failover.ClusterName
		kind     Kind
	}
	seen := make(map[key]bool)
	var kept []Transition
	for _, t := range slices.Backward(ts) {
		k := key{t.Instance, t.Cluster, t.Kind}
		if !seen[k] {
			seen[k] = true
			kept = append(kept, t)
		}
	}
	slices.Reverse(kept)
	return kept
}

// subscribers is everybody who wants transitions.
type subscribers struct {
	mu     sync.Mutex
	all    map[*Subscription]struct{}
	closed bool
}

func (b *subscribers) add() *Subscription {
	s := &Subscription{changed: make(chan struct{}, 1), from: b}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		s.end()
		return s
	}
	if b.all == nil {
		b.all = make(map[*Subscription]struct{})
	}
	b.all[s] = struct{}{}
	return s
}

func (b *subscribers) remove(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, s)
}

// publish offers ts to all and returns how many fell behind for good.
func (b *subscribers) publish(ts []Transition) (dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.all {
		if !s.offer(ts) {
			delete(b.all, s)
			s.end()
			dropped++
		}
	}
	return dropped
}

func (b *subscribers) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for s := range b.all {
		delete(b.all, s)
		s.end()
	}
}

// Subscribe begins a subscription to the transitions of all instances. The
// caller must Close it.
func (c *Controller) Subscribe() *Subscription { return c.subs.add() }
