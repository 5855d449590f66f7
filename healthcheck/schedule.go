package healthcheck

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pointsman/internal/failover"
)

// watch is one target with what is known of it. The scheduler's goroutine
// owns it; others read target and history under the Prober's mutex.
type watch struct {
	target   *Target   // never written to; a Reload puts another in its place
	instance *instance // nil for a control
	probe    Probe     // nil for a direct one
	direct   *direct   // nil when the probe needs a goroutine
	long     Probe     // of a direct one, where no lane can be had; nil before it was needed
	history  history

	grid     time.Time // the next turn of its rounds
	due      time.Time // when it is probed next
	place    int       // in the queue, -1 when it is not there
	asked    time.Time // when the newest probe was handed out
	flying   int       // probes that are under way or wait for a worker
	early    []outcome // have ended before one that was sent earlier
	counts   uint64    // probes that were counted
	launched time.Time // when the newest probe really set out
	lates    int       // turns since then that came too late to start
	said     uint64    // of counts, when the instance was reported last
	saidWell bool      // the vote was up then, and nothing else to tell

	gone bool // no longer in the config: what comes back counts nowhere

	mu      sync.Mutex // guards sends and ends: probes of a burst start on many goroutines
	sends   uint64     // probes that were sent
	ends    []ending   // of those under way
	stopped bool       // none may be under way any more

	count       failover.Count
	before      failover.Count // as it was before the present run of misses
	sent        time.Time      // when the newest probe was really sent
	finished    time.Time      // when the newest probe ended
	turned      time.Time      // when the vote became down or its first miss changed
	lastError   string         // of the newest probe, empty for a success
	own         bool           // the newest probe met a fault of our own
	fault       failover.Fault // its class, where it has one
	late        int            // probes in a row that were too late, by our own fault
	lastMiss    string         // of the newest miss
	reached     bool           // there was a success
	lastSuccess time.Time      // when the newest success was sent
	latency     time.Duration
	identity    bool
	warnings    []string

	certificateEnds time.Time // of the newest success; zero without TLS

	canary   failover.CanaryResult // of the newest probe that wrote, and when it was sent
	canaryAt time.Time
	client   failover.ClientResult
	clientAt time.Time

	gated   bool // its down vote waits for a control
	refused bool // the newest miss was the other side's own word

	held     *held     // beside the probes; nil: nothing
	front    *patrol   // beside the probes; nil: nothing
	doubtful []outcome // misses that our own held connection may have caused

	nudge      *nudge // that its next probes answer, or nil
	nudges     bucket
	nearMisses int  // nudges since the vote turned up that a probe ended well
	nearMiss   Loss // of the newest
	hurried    Loss // of the nudge that the present down vote confirmed; empty: none
}

// flight is one probe on its way.
type flight struct {
	watch      *watch
	target     *Target       // as it was when the probe was handed out
	probe      Probe         // likewise
	direct     *direct       // likewise
	lost       *atomic.Int64 // how long the scheduler looked away, in all
	lostBefore int64         // that, when the probe set out
	due        time.Time
	overlaps   bool // another probe of the target was in flight when it was handed out
	waits      bool // for its turn, in a lineup
	commands   int  // that it runs
	turn       bool // on the grid: re-checks and confirming probes do not enter the window
}

// ending stops a probe that is under way.
type ending struct {
	number uint64
	stop   context.CancelFunc
}

// start stamps a probe: its place in the order of sending, and when.
func (w *watch) start() (n uint64, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = w.sends
	w.sends++
	return n, time.Now()
}

// holds says how to stop a probe that was started.
func (w *watch) holds(n uint64, stop context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, ending{n, stop})
	if w.stopped {
		stop()
	}
}

// end forgets a probe that is over.
func (w *watch) end(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = slices.DeleteFunc(w.ends, func(e ending) bool { return e.number == n })
}

// stop ends every probe that is under way, and any that starts later.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	for _, e := range w.ends {
		e.stop()
	}
}

// landed takes a probe that has ended and returns those that can be counted
// now. Probes of a burst may end in any order and are counted as they were
// sent: what a run of misses means depends on it.
func (w *watch) landed(o outcome) []outcome {
	w.flying--
	at, _ := slices.BinarySearchFunc(w.early, o, func(a, b outcome) int { return cmp.Compare(a.number, b.number) })
	w.early = slices.Insert(w.early, at, o)
	n := 0
	for n < len(w.early) && w.early[n].number == w.counts {
		n++
		w.counts++
	}
	ripe := slices.Clone(w.early[:n])
	w.early = slices.Delete(w.early, 0, n)
	return ripe
}

// instance groups the watches that are reported together.
type instance struct {
	name       failover.InstanceName
	generation string
	watches    []*watch // sorted by cluster
	targets    []Target // only while it is put together
	round      time.Duration
	speakAt    time.Time      // when a report that waits is made; zero when none does
	latest     InstanceReport // guarded by the Prober's mutex
}

// phase spreads the first turns over one round, the same way at every start.
// The clusters of an instance have the same, so that one report tells of all,
// and there are at most 1024, so that many targets wake us no more often.
func phase(v failover.VantageName, t Target) time.Duration {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", v, t.Instance))
	beat := max(t.Round/1024, 1)
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%uint64(t.Round/beat)) * beat
}

// add counts one probe.
func (w *watch) add(o outcome) {
	w.sent, w.finished, w.own = o.sent, o.done, o.kind == OwnFault
	w.lastError, w.warnings, w.fault = "", nil, FaultOf(o.err)
	w.wrote(o)
	if o.err != nil {
		w.lastError = clean(o.err.Error(), maxText)
	}
	if w.late++; !errors.Is(o.err, ErrLate) {
		w.late = 0
	}
	if w.own {
		return
	}
	w.count = w.count.Lapse(o.sent, 2*w.target.Round+w.target.Timeout)
	before := w.count.Sighting(w.target.Count)
	if before.Misses == 0 {
		w.before = w.count
	}
	if o.turn {
		w.count = w.count.Add(o.kind == Success, o.sent, w.target.Count)
	} else {
		w.count = w.count.Recheck(o.kind == Success, o.sent, w.target.Count)
	}
	after := w.count.Sighting(w.target.Count)
	if after.Vote == failover.Down && (before.Vote != failover.Down || !before.FirstMiss.Equal(after.FirstMiss)) {
		w.turned = o.done
		if before.Vote != failover.Down {
			w.hurried = ""
		}
	}
	if o.kind == Miss {
		w.lastMiss, w.refused = w.lastError, isRefusal(o.err)
		return
	}
	w.reached, w.lastSuccess, w.latency = true, o.sent, o.done.Sub(o.sent)
	w.identity, w.warnings, w.certificateEnds = o.trace.Identity, o.trace.Warnings, o.trace.CertificateEnds
}

// wrote keeps what became of the writes of a probe. Warnings about a client's
// write are those of a success, and shown with it.
func (w *watch) wrote(o outcome) {
	if tr := o.trace; tr.Canary != failover.CanaryNone {
		w.canary, w.canaryAt = tr.Canary, o.sent
	}
	if tr := o.trace; tr.Client != failover.ClientNone {
		w.client, w.clientAt = tr.Client, tr.ClientAt
	}
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

// plan returns when the target is probed next, if none of its probes is in
// flight. After a first miss a burst of re-checks makes the vote early; it ends
// with the vote or with a success. Once the vote is down, confirming probes
// run for one round from the end of the ride-out on. After a fault of our own
// nothing is hurried: more probes would not heal us. Nor is the way back up: a
// cluster that returns has to prove itself over time.
func (w *watch) plan(now time.Time) time.Time {
	t := w.target
	if late := now.Sub(w.grid); late >= 0 {
		w.grid = w.grid.Add((late/t.Round + 1) * t.Round)
	}
	due := w.grid
	if w.own && !w.hasty() {
		return due
	}
	s := w.count.Sighting(t.Count)
	again := w.sent.Add(t.Burst)
	switch {
	case w.unanswered():
		due = now
	case w.nudge != nil && w.own:
		due = earlier(due, again)
	case w.count.Missing(), len(w.doubtful) > 0:
		again = w.again()
		due = earlier(due, again)
	case s.Vote == failover.Down && s.Misses > 0:
		from := w.confirmFrom(s)
		if confirm := later(later(from, again), now); !confirm.After(from.Add(t.Round)) {
			due = earlier(due, confirm)
		}
	}
	return later(due, now)
}

// lateTries is how many probes in a row may be hurried after one that was too
// late.
const lateTries = 2

// hasty says that a probe, too late by our own fault, may be made up for at
// once: a process that stood still for a moment goes on after it. One that
// stands still again and again has too much to do already.
func (w *watch) hasty() bool { return w.late > 0 && w.late <= lateTries }

// confirmFrom is when confirming probes begin.
func (w *watch) confirmFrom(s failover.Sighting) time.Time {
	return later(s.FirstMiss.Add(w.target.RideOut), w.turned)
}

// overlap returns when the next probe is sent although others are in flight;
// false when it has to wait for them. Only a burst may overlap, so that a
// target that is silent costs it one timeout and not one per probe: re-checks,
// after a first miss or a nudge, as many as the vote still wants, confirming probes up to Fall at a time, one
// by one within the timeout. Each has a connection and a whole deadline of its
// own, so a miss means what it always means.
func (w *watch) overlap(now time.Time) (due time.Time, ok bool) {
	t := w.target
	answered := slices.ContainsFunc(w.early, func(o outcome) bool { return o.kind != Miss })
	if w.own || answered {
		return due, false
	}
	s := w.count.Sighting(t.Count)
	switch {
	case w.unanswered():
		return now, w.flying < s.Fall
	case w.nudge != nil || w.count.Missing() || len(w.doubtful) > 0:
		return later(w.asked.Add(w.gap()), now), s.Misses+len(w.doubtful)+len(w.early)+w.flying < s.Fall
	case s.Vote == failover.Down && s.Misses > 0 && w.flying < s.Fall:
		from := w.confirmFrom(s)
		if due = later(from, now); !w.asked.Before(from) {
			due = later(w.asked.Add(max(t.Burst, t.Timeout/time.Duration(s.Fall))), now)
		}
		return due, !due.After(from.Add(t.Round))
	}
	return due, false
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

// queue is a heap of watches by due time. The times are beside the watches, so
// that sorting many does not have to look at each of them.
type queue []planned

type planned struct {
	due   time.Time
	watch *watch
}

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].watch.place, q[j].watch.place = i, j
}

func (q *queue) Push(x any) {
	w := x.(*watch)
	w.place = len(*q)
	*q = append(*q, planned{w.due, w})
}

func (q *queue) Pop() any {
	old := *q
	w := old[len(old)-1].watch
	old[len(old)-1] = planned{}
	*q = old[:len(old)-1]
	w.place = -1
	return w
}

// put sets the due time, whether the watch is in the queue already or not.
func (q *queue) put(w *watch, due time.Time) {
	w.due = due
	if w.place >= 0 {
		(*q)[w.place].due = due
		heap.Fix(q, w.place)
	} else {
		heap.Push(q, w)
	}
}

// drop takes a watch out, whether it is in the queue or not.
func (q *queue) drop(w *watch) {
	if w.place >= 0 {
		heap.Remove(q, w.place)
	}
}

// take removes and returns the first watch that is due.
func (q *queue) take(now time.Time) *watch {
	if len(*q) == 0 || (*q)[0].due.After(now) {
		return nil
	}
	return heap.Pop(q).(*watch)
}
