package healthcheck

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"pointsman/internal/failover"
)

// Loss is why a held-open connection, or a look at the front end, gave rise to
// a nudge.
type Loss string

const (
	LossClosed  Loss = "closed"  // the other side ended it (FIN, or TLS close_notify)
	LossReset   Loss = "reset"   // the other side broke it (RST)
	LossBroken  Loss = "broken"  // any other error of reading or writing
	LossSilent  Loss = "silent"  // a request on it was not answered in time
	LossRefused Loss = "refused" // a new one was refused right after a probe had succeeded
	LossFront   Loss = "front"   // the front end did not answer the cheap look as it should
)

// Losses lists every end of a held-open connection.
var Losses = []Loss{LossClosed, LossReset, LossBroken, LossSilent, LossRefused}

// NudgeEnd is what became of a nudge.
type NudgeEnd string

const (
	NudgeConfirmed NudgeEnd = "confirmed" // the vote turned down
	NudgePassed    NudgeEnd = "passed"    // a near miss: a fresh connection was answered
	NudgeOwn       NudgeEnd = "own-fault" // a probe met a fault of our own
	NudgeIdle      NudgeEnd = "idle"      // nothing to hurry: the vote is down, unknown by our own fault, or nudged already
	NudgeLimited   NudgeEnd = "limited"   // too many, of this target or in all
)

// NudgeEnds lists every end.
var NudgeEnds = []NudgeEnd{NudgeConfirmed, NudgePassed, NudgeOwn, NudgeIdle, NudgeLimited}

// nudge asks for probes of a target on fresh connections, now. It is never a
// vote nor a part of one: only what those probes meet is counted. It names its
// target, so that one of a target that is gone leads nowhere.
type nudge struct {
	instance failover.InstanceName
	cluster  failover.ClusterName
	why      Loss
	at       time.Time
}

const (
	// quick is the time between re-checks when a nudge was followed by a fresh
	// connection that was refused or reset: that is the word of the other
	// side, and says the same a few milliseconds later as it says now. Silence
	// is never hurried like that, and nothing is where a ride-out follows: the
	// vote would not move anything sooner.
	quick = 3 * time.Millisecond

	targetNudges = 3  // of one target at once; one more every round
	allNudges    = 64 // of all targets at once, and as many more every second
)

// bucket is a token bucket; the zero value is full.
type bucket struct {
	spent float64
	last  time.Time
}

// take says whether there is a token, and takes it. One comes back every.
func (b *bucket) take(now time.Time, size int, every time.Duration) bool {
	if !b.last.IsZero() {
		b.spent = max(0, b.spent-float64(now.Sub(b.last))/float64(every))
	}
	b.last = now
	if b.spent > float64(size-1) {
		return false
	}
	b.spent++
	return true
}

// nudged takes a nudge: the first probe starts at once, unless the target
// needs no hurry or hurries too often.
func (p *Prober) nudged(n nudge, now time.Time) {
	w := p.find(n.instance, n.cluster)
	switch {
	case w == nil:
		return // gone since
	case w.own || w.nudge != nil || w.count.Vote() == failover.Down:
		p.endNudge(NudgeIdle)
		return
	case !w.nudges.take(now, targetNudges, w.target.Round) || !p.allNudges.take(now, allNudges, time.Second/allNudges):
		p.endNudge(NudgeLimited)
		return
	}
	w.nudge = &n
	if w.flying == 0 {
		p.queue.put(w, now)
	} else if due, ok := w.overlap(now); ok {
		p.queue.put(w, due)
	}
}

// find returns the watch of a target, or nil.
func (p *Prober) find(i failover.InstanceName, c failover.ClusterName) *watch {
	in := p.now.byName[i]
	if in == nil {
		return nil
	}
	for _, w := range in.watches {
		if w.target.Cluster == c {
			return w
		}
	}
	return nil
}

func (p *Prober) endNudge(how NudgeEnd) {
	p.count(func(s *Stats) {
		if s.Nudges == nil {
			s.Nudges = make(map[NudgeEnd]uint64)
		}
		s.Nudges[how]++
	})
}

// answerNudge ends the nudge of a target by a probe that was sent after it.
func (p *Prober) answerNudge(w *watch, o outcome) {
	end := NudgeOwn
	switch {
	case w.nudge == nil:
		return
	case w.count.Vote() == failover.Down:
		end, w.nearMisses, w.hurried = NudgeConfirmed, 0, w.nudge.why
	case o.sent.Before(w.nudge.at):
		return // says nothing of what came after it
	case o.kind == Success:
		end, w.nearMiss = NudgePassed, w.nudge.why
		w.nearMisses++
	case o.kind != OwnFault || w.hasty():
		return
	}
	p.endNudge(end)
	if w.nudge.why == LossFront && w.front != nil {
		w.front.became.Store(&end)
	} else if w.held != nil {
		w.held.became.Store(&end)
	}
	w.nudge = nil
}

// unanswered says that no probe was handed out since the nudge.
func (w *watch) unanswered() bool { return w.nudge != nil && w.asked.Before(w.nudge.at) }

// gap is the time between two probes of a burst.
func (w *watch) gap() time.Duration {
	if w.nudge != nil && w.refused && w.target.RideOut == 0 {
		return min(quick, w.target.Burst)
	}
	return w.target.Burst
}

// isRefusal says that the other side itself turned us away.
func isRefusal(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
}

// by says what saw it.
func (l Loss) by() string {
	if l == LossFront {
		return "a look at the front end"
	}
	return fmt.Sprintf("a held connection (%s)", l)
}
