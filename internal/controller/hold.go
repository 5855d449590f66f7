package controller

import (
	"time"

	"pointsman/internal/failover"
)

// hold keeps a report back that says nothing new in a calm time: the turn that
// it would cost waits for a part of a round, in which the other vantages say
// the same. It counts from its arrival all the same, and whatever wakes the
// instance earlier brings it along, so nothing is decided without it.
func (o *owner) hold(r failover.Report, s *Snapshot) bool {
	if !o.quietIn(s, r) {
		return false
	}
	held, first := o.inbox.hold(r)
	if !held {
		return false
	}
	if first {
		o.c.crew.wakeBy(o, r.Arrived.Add(patience(s.Policy.Round)))
	}
	// A turn that ended meanwhile may have left a state in which it is not
	// quiet. The turn looks after what is held once it has published, and we
	// look at what was published once it is held: one of both sees it.
	if now := o.snap.Load(); now != s && !o.quietIn(now, r) {
		o.c.crew.wake(o)
	}
	return true
}

func (o *owner) quietIn(s *Snapshot, r failover.Report) bool {
	return o.c.cfg.Core.Quiet(&s.State, s.Policy, r, o.c.now())
}

func (o *owner) quiet(r failover.Report) bool { return o.quietIn(o.snap.Load(), r) }

// patience is how long a quiet report may wait. Three vantages that report at
// any moments of a round fall into seven tenths of it. What is looked at
// between two turns is by as much older than what has arrived, and must stay
// younger than two rounds, from which on it is stale.
func patience(round time.Duration) time.Duration {
	return max(round/2, min(round*7/10, round-500*time.Millisecond))
}
