package healthcheck

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Outcome is what a single probe found.
type Outcome string

const (
	Success Outcome = "success"
	Miss    Outcome = "miss"
	// OwnFault: the probe says nothing of the cluster.
	OwnFault Outcome = "own-fault"
)

// Observation is one finished probe, kept for people who ask why. Moments are
// those of this machine's clock.
type Observation struct {
	Sent    time.Time     `json:"sent"`
	Took    time.Duration `json:"took_ns"`
	Outcome Outcome       `json:"outcome"`
	Phase   Phase         `json:"phase"` // how far it came; done for a success
	Reason  string        `json:"reason,omitempty"`

	Resolve time.Duration `json:"resolve_ns,omitempty"`
	Connect time.Duration `json:"connect_ns,omitempty"`
	TLS     time.Duration `json:"tls_ns,omitempty"`
	Answer  time.Duration `json:"answer_ns,omitempty"`

	Local    netip.AddrPort `json:"local,omitzero"`
	Remote   netip.AddrPort `json:"remote,omitzero"`
	Identity bool           `json:"identity,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
}

// Keep is how many observations of one cluster are kept, per kind. With many
// clusters it is fewer, so that no more than 262,144 of a kind are kept in all:
// 13 failures each where there are 20,000.
type Keep struct {
	Successes int // default 8
	Failures  int // misses and faults of our own; default 64
}

func (k Keep) withDefaults() Keep {
	return Keep{cmp.Or(k.Successes, 8), cmp.Or(k.Failures, 64)}
}

// maxKept is how many observations of a kind are kept in all: some 70 MB, when
// everything fails for long.
const maxKept = 1 << 18

// within is what of it so many clusters can have.
func (k Keep) within(clusters int) Keep {
	most := max(maxKept/clusters, 1)
	return Keep{min(k.Successes, most), min(k.Failures, most)}
}

// history keeps failures in a ring of their own, so that the successes of a
// quiet day do not wash away why it failed in the morning.
type history struct {
	successes, failures ring
}

func newHistory(k Keep) history {
	return history{ring{limit: k.Successes}, ring{limit: k.Failures}}
}

func (h *history) add(o Observation) {
	if o.Outcome == Success {
		h.successes.add(o)
	} else {
		h.failures.add(o)
	}
}

// limited is the history under other limits.
func (h *history) limited(k Keep) history {
	return history{h.successes.limited(k.Successes), h.failures.limited(k.Failures)}
}

// list returns what is kept, newest first.
func (h *history) list() []Observation {
	all := slices.Concat(h.successes.items, h.failures.items)
	slices.SortStableFunc(all, func(a, b Observation) int { return b.Sent.Compare(a.Sent) })
	return all
}

// ring grows up to its limit only as it is filled: most clusters never fail.
type ring struct {
	items []Observation
	limit int
	next  int
}

func (r *ring) add(o Observation) {
	if len(r.items) < r.limit {
		r.items = append(r.items, o)
		return
	}
	r.items[r.next] = o
	r.next = (r.next + 1) % r.limit
}

// limited keeps the newest of what is there.
func (r *ring) limited(limit int) ring {
	items := slices.Concat(r.items[r.next:], r.items[:r.next]) // oldest first
	return ring{items: items[max(0, len(items)-limit):], limit: limit}
}
