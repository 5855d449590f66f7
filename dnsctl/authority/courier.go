package authority

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// pace is how a courier goes about it.
type pace struct {
	answer   time.Duration // how long a secondary may take to answer, over each transport
	gap      time.Duration // least time between two NOTIFY; what changes meanwhile goes in one
	first    time.Duration // wait after the first failure; it doubles
	longest  time.Duration // the longest wait after a failure
	lookSoon time.Duration // wait before the first look at what a secondary serves; it doubles
	lookLate time.Duration // between two looks while it serves something old
}

var usualPace = pace{
	answer: 2 * time.Second, gap: 200 * time.Millisecond, first: time.Second, longest: time.Minute,
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
	state SecondaryStats
	since time.Time // when our serial became one that the secondary does not serve; zero while it serves ours
}

// SecondaryStats is what is known of one secondary. Times are of our own
// clock; zero is never.
type SecondaryStats struct {
	Zone    string
	Address netip.AddrPort
	Notify  bool   // it is told of changes
	Serial  uint32 // ours; 0 while the zone is not whole

	Sent    uint32 // serial of the last NOTIFY
	SentAt  time.Time
	Acked   uint32 // the last serial that it acknowledged
	AckedAt time.Time

	Serves   uint32 // the serial that it answered with last
	ServesAt time.Time
	Behind   time.Duration // since when it should have served ours; 0 while it does
	Err      string        // what is wrong now; empty when all is well
}

// run works until ctx ends.
func (c *courier) run(ctx context.Context) {
	var lastTold time.Time
	var told, asked uint32 // our serials at the last NOTIFY and the last look
	wait, look := c.pace.first, c.pace.lookSoon
	var nextTell, nextLook time.Time
	for {
		sn, err := c.ours()
		now := time.Now()
		switch {
		case err != nil:
			c.note(func(st *SecondaryStats) { st.Serial, st.Err = 0, err.Error() })
			nextTell, nextLook = time.Time{}, time.Time{}
			if !c.sleep(ctx, c.pace.longest, now.Add(c.pace.gap)) {
				return
			}
			continue
		case sn.serial != told:
			wait, nextTell = c.pace.first, later(now, lastTold.Add(c.pace.gap))
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
				nextTell = time.Time{}
				nextLook = time.Now().Add(c.pace.lookSoon)
			} else {
				nextTell = time.Now().Add(wait)
				wait = min(2*wait, c.pace.longest)
			}
		case !now.Before(nextLook):
			if c.look(ctx, sn) {
				look, nextLook = c.pace.lookSoon, time.Now().Add(c.refresh(sn))
			} else {
				nextLook = time.Now().Add(look)
				look = min(2*look, c.pace.lookLate)
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
	return c.s.snapshot(apex)
}

// refresh is how often a secondary that serves ours is looked at.
func (c *courier) refresh(sn *snapshot) time.Duration {
	return max(time.Duration(sn.soa.Refresh)*time.Second, c.pace.lookSoon)
}

func (c *courier) tells() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.conf.Silent
}

// owe notes which serial the secondary should serve.
func (c *courier) owe(serial uint32, now time.Time) {
	c.note(func(st *SecondaryStats) {
		st.Serial = serial
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
	k := &caller{zone: c.zone, to: c.to, now: c.s.clock, from: c.s.callFrom(c.to.Addr())}
	if c.conf.Key != "" {
		k.key = c.s.view.Load().keys[dns.CanonicalName(string(c.conf.Key))]
		if k.key == nil {
			k.key = &tsigKey{name: string(c.conf.Key)}
		}
	}
	return k
}

// tell sends NOTIFY and says whether it was acknowledged.
func (c *courier) tell(ctx context.Context, sn *snapshot) bool {
	c.note(func(st *SecondaryStats) { st.Sent, st.SentAt = sn.serial, time.Now() })
	c.s.stats.notifies.Add(1)
	err := c.caller().tell(ctx, sn.soa, c.pace.answer)
	c.note(func(st *SecondaryStats) {
		if err != nil {
			st.Err = err.Error()
			return
		}
		st.Acked, st.AckedAt, st.Err = sn.serial, time.Now(), ""
	})
	if err != nil && ctx.Err() == nil {
		c.s.stats.unacked.Add(1)
	}
	return err == nil
}

// look asks what the secondary serves and says whether it is our serial.
func (c *courier) look(ctx context.Context, sn *snapshot) bool {
	serial, err := c.caller().look(ctx, c.pace.answer)
	ok := err == nil && serial == sn.serial
	c.note(func(st *SecondaryStats) {
		switch {
		case err != nil:
			st.Err = err.Error()
			return
		case ok:
			st.Err, c.since = "", time.Time{}
		case int32(serial-sn.serial) > 0:
			st.Err = fmt.Sprintf("it serves %d, which is later than ours: was the ledger restored from a backup? Make it fetch the zone anew", serial)
		}
		st.Serves, st.ServesAt = serial, time.Now()
	})
	return ok
}

// stats is the state of this moment.
func (c *courier) stats() SecondaryStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.state
	st.Zone, st.Address, st.Notify = c.zone, c.to, !c.conf.Silent
	if !c.since.IsZero() {
		st.Behind = time.Since(c.since)
	}
	return st
}
