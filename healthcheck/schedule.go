package healthcheck

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"pointsman/internal/failover"
)

// watch is one target with what is known of it. The scheduler's goroutine
// owns it, except for history, which the Prober's mutex guards.
type watch struct {
	target   Target
	instance *instance // nil for a control
	probe    Probe
	history  history

	grid   time.Time // the next turn of its rounds
	due    time.Time // when it is probed next
	place  int       // in the queue, -1 when it is not there
	flying bool      // a probe is under way or waits for a worker

	count       failover.Count
	before      failover.Count // as it was before the present run of misses
	sent        time.Time      // when the newest probe was really sent
	finished    time.Time      // when the newest probe ended
	turned      time.Time      // when the vote became down or its first miss changed
	lastError   string         // of the newest probe, empty for a success
	own         bool           // the newest probe met a fault of our own
	lastMiss    string         // of the newest miss
	reached     bool           // there was a success
	lastSuccess time.Time      // when the newest success was sent
	latency     time.Duration
	identity    bool
	warnings    []string
	gated       bool // its down vote waits for a control
}

// instance groups the watches that are reported together.
type instance struct {
	name       failover.InstanceName
	generation string
	watches    []*watch // sorted by cluster
	round      time.Duration
	latest     InstanceReport // guarded by the Prober's mutex
}

// phase spreads the first turns over one round, the same way at every start.
func phase(v failover.VantageName, t Target) time.Duration {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", v, t.Instance, t.Cluster))
	return time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(t.Round))
}

// add counts one probe.
func (w *watch) add(o outcome) {
	w.sent, w.finished, w.own = o.sent, o.done, o.kind == OwnFault
	w.lastError, w.warnings = "", nil
	if o.err != nil {
		w.lastError = clean(o.err.Error(), maxText)
	}
	if w.own {
		return
	}
	before := w.count.Sighting(w.target.Count)
	if before.Misses == 0 {
		w.before = w.count
	}
	w.count = w.count.Add(o.kind == Success, o.sent, w.target.Count)
	after := w.count.Sighting(w.target.Count)
	if after.Vote == failover.Down && (before.Vote != failover.Down || !before.FirstMiss.Equal(after.FirstMiss)) {
		w.turned = o.done
	}
	if o.kind == Miss {
		w.lastMiss = w.lastError
		return
	}
	w.reached, w.lastSuccess, w.latency = true, o.sent, o.done.Sub(o.sent)
	w.identity, w.warnings = o.trace.Identity, o.trace.Warnings
}

// unproven says that no control was reached since the run of misses began.
func (w *watch) unproven(c *controls) bool {
	s := w.count.Sighting(w.target.Count)
	return s.Misses > 0 && !c.seen(s.FirstMiss)
}

// forget takes back a run of misses that our own network may have caused. The
// vote is unknown until the next probe.
func (w *watch) forget() {
	w.count, w.own, w.gated = w.before, true, false
	w.lastError = "not probed since the controls were lost"
}

// firstMiss says that the newest probe began a run of misses.
func (w *watch) firstMiss() bool {
	return !w.own && w.lastError != "" && w.count.Sighting(w.target.Count).Misses == 1
}

// plan returns when the target is probed next. After a first miss a burst of
// re-checks makes the vote early; it ends with the vote or with a success. Once the vote is down, confirming probes run for one round from
// the end of the ride-out on. After a fault of our own nothing is hurried:
// more probes would not heal us. Nor is the way back up: a cluster that
// returns has to prove itself over time.
func (w *watch) plan(now time.Time) time.Time {
	t := &w.target
	if late := now.Sub(w.grid); late >= 0 {
		w.grid = w.grid.Add((late/t.Round + 1) * t.Round)
	}
	due := w.grid
	if w.own {
		return due
	}
	s := w.count.Sighting(t.Count)
	again := w.sent.Add(t.Burst)
	switch {
	case w.count.Missing():
		due = earlier(due, again)
	case s.Vote == failover.Down && s.Misses > 0:
		from := later(s.FirstMiss.Add(t.RideOut), w.turned)
		if confirm := later(later(from, again), now); !confirm.After(from.Add(t.Round)) {
			due = earlier(due, confirm)
		}
	}
	return later(due, now)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// queue is a heap of watches by due time.
type queue []*watch

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

func (q *queue) Push(x any) {
	w := x.(*watch)
	w.place = len(*q)
	*q = append(*q, w)
}

func (q *queue) Pop() any {
	old := *q
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	w.place = -1
	return w
}

// put sets the due time, whether the watch is in the queue already or not.
func (q *queue) put(w *watch, due time.Time) {
	w.due = due
	if w.place >= 0 {
		heap.Fix(q, w.place)
	} else {
		heap.Push(q, w)
	}
}

// take removes and returns the first watch that is due.
func (q *queue) take(now time.Time) *watch {
	if len(*q) == 0 || (*q)[0].due.After(now) {
		return nil
	}
	return heap.Pop(q).(*watch)
}
