package authority

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// pace is how a courier goes about it.
type pace struct {
	answer   time.Duration // how long a secondary may take to answer, over each transport
	gap      time.Duration // least time between two NOTIFY; what changes meanwhile goes in one
	first    time.Duration // wait after the first failure; it doubles
	patience time.Duration // least time between two NOTIFY to one that failed, whatever changes
	longest  time.Duration // the longest wait after a failure
	lookSoon time.Duration // wait before the first look at what a secondary serves; it doubles
	lookLate time.Duration // between two looks while it serves something old
}

var usualPace = pace{
	answer: 2 * time.Second, gap: 200 * time.Millisecond, first: time.Second, patience: 5 * time.Second, longest: time.Minute,
	lookSoon: 50 * time.Millisecond, lookLate: 10 * time.Second,
}

// errand is one zone at one secondary.
type errand struct {
	zone string
	to   netip.AddrPort
}

// courier keeps one secondary up to date about one zone: it sends NOTIFY after
// each change until it is acknowledged, and looks whether the secondary serves
// the change. It never gives up.
type courier struct {
	errand
	s    *Server
	wake chan struct{} // holds one: something may have changed
	pace pace

	mu    sync.Mutex
	conf  Secondary
	key   *tsigKey // nil without one
	anew  bool     // conf or key is another than run knows
	state SecondaryStats
	since time.Time // when our serial became one that the secondary does not serve; zero while it serves ours
}

// run works until ctx ends.
func (c *courier) run(ctx context.Context) {
	var lastTold time.Time
	var told, asked uint32 // our serials at the last NOTIFY and the last look
	wait, look := c.pace.first, c.pace.lookSoon
	var nextTell, nextLook time.Time
	again := false  // nextTell is for one that acknowledged, and did not fetch
	failed := false // the last NOTIFY got no acknowledgement
	for {
		sn, err := c.ours()
		now := time.Now()
		if c.renewed() { // what failed may have failed for what was changed
			told, asked, failed = 0, 0, false
		}
		switch {
		case err != nil:
			c.note(func(st *SecondaryStats) { st.Serial, st.OwnErr = 0, err.Error() })
			nextTell, nextLook = time.Time{}, time.Time{}
			if !c.sleep(ctx, c.pace.longest, now.Add(c.pace.gap)) {
				return
			}
			continue
		case sn.serial != told && failed:
			// A change is no reason to believe that it would answer now.
			if soon := later(now, lastTold.Add(c.pace.patience)); nextTell.IsZero() || soon.Before(nextTell) {
				nextTell, again = soon, false
			}
		case sn.serial != told:
			wait, nextTell, again = c.pace.first, later(now, lastTold.Add(c.pace.gap)), false
		}
		if sn.serial != asked {
			look, nextLook = c.pace.lookSoon, later(now, nextTell).Add(c.pace.lookSoon)
			asked = sn.serial
		}
		c.owe(sn.serial, now)
		told = sn.serial
		if !c.tells() {
			nextTell = time.Time{}
		}
		switch {
		case !nextTell.IsZero() && !now.Before(nextTell):
			lastTold = now
			if c.tell(ctx, sn) {
				if failed {
					wait, failed = c.pace.first, false
				}
				nextTell = time.Time{}
				nextLook = time.Now().Add(c.pace.lookSoon)
			} else {
				nextTell, failed = time.Now().Add(wait), true
				wait = min(2*wait, c.pace.longest)
			}
		case !now.Before(nextLook):
			if c.look(ctx, sn) {
				look, nextLook = c.pace.lookSoon, time.Now().Add(c.refresh(sn))
				if again {
					nextTell, again = time.Time{}, false
				}
				break
			}
			nextLook = time.Now().Add(look)
			look = min(2*look, c.pace.lookLate)
			if nextTell.IsZero() {
				// An acknowledgement promises no transfer:
				// the one that it begins may fail.
				nextTell, again = time.Now().Add(wait), true
				wait = min(2*wait, c.pace.longest)
			}
		}
		next := nextLook
		if !nextTell.IsZero() && nextTell.Before(next) {
			next = nextTell
		}
		if !c.sleep(ctx, time.Until(next), lastTold.Add(c.pace.gap)) {
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits for something to do, which no change is before hold, and says
// whether to go on.
func (c *courier) sleep(ctx context.Context, d time.Duration, hold time.Time) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	if rest := time.Until(hold); rest > 0 {
		held := time.NewTimer(rest)
		defer held.Stop()
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case <-held.C:
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-c.wake:
	}
	return ctx.Err() == nil
}

// ours is the zone that the secondary should serve.
func (c *courier) ours() (*snapshot, error) {
	apex, err := keyOf(c.zone)
	if err != nil {
		return nil, err
	}
	return c.s.toHandOut(apex)
}

// refresh is how often a secondary that serves ours is looked at.
func (c *courier) refresh(sn *snapshot) time.Duration {
	return max(time.Duration(sn.soa.Refresh)*time.Second, c.pace.lookSoon)
}

// renewed says, once, that the configuration of the secondary is another.
func (c *courier) renewed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.anew
	c.anew = false
	return was
}

func (c *courier) tells() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.conf.Silent
}

// owe notes which serial the secondary should serve.
func (c *courier) owe(serial uint32, now time.Time) {
	c.note(func(st *SecondaryStats) {
		st.Serial, st.OwnErr = serial, ""
		switch {
		case st.Serves == serial && !st.ServesAt.IsZero():
			c.since = time.Time{}
		case c.since.IsZero():
			c.since = now
		}
	})
}

func (c *courier) note(f func(*SecondaryStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.state)
}

func (c *courier) caller() *caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &caller{zone: c.zone, to: c.to, now: c.s.clock, from: c.s.callFrom(c.to.Addr()), key: c.key}
}

// tell sends NOTIFY and says whether it was acknowledged.
func (c *courier) tell(ctx context.Context, sn *snapshot) bool {
	sent := time.Now()
	c.note(func(st *SecondaryStats) { st.Sent, st.SentAt = sn.serial, sent })
	c.s.stats.notifies.Add(1)
	err := c.caller().tell(ctx, sn.soa, c.pace.answer)
	if err != nil && ctx.Err() != nil {
		return false // cut short by us, it says nothing of the secondary
	}
	c.note(func(st *SecondaryStats) {
		if err == nil {
			st.Acked, st.AckedAt, st.NotifyErr, st.SilentSince = sn.serial, time.Now(), "", time.Time{}
			return
		}
		st.NotifyErr = err.Error()
		if st.SilentSince.IsZero() {
			st.SilentSince = sent
		}
	})
	if err != nil {
		c.s.stats.unacked.Add(1)
	}
	return err == nil
}

// look asks what the secondary serves and says whether it is our serial.
func (c *courier) look(ctx context.Context, sn *snapshot) bool {
	serial, err := c.caller().look(ctx, c.pace.answer)
	ok := err == nil && serial == sn.serial
	c.note(func(st *SecondaryStats) {
		if err != nil {
			st.LookErr = err.Error()
			return
		}
		st.LookErr, st.Serves, st.ServesAt = "", serial, time.Now()
		if ok {
			c.since = time.Time{}
		}
	})
	return ok
}

// stats is the state of this moment.
func (c *courier) stats() SecondaryStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.state
	st.Zone, st.Address, st.Notify, st.Clients = c.zone, c.to, !c.conf.Silent, !c.conf.Hidden
	if !c.since.IsZero() {
		st.Behind = time.Since(c.since)
	}
	return st
}
