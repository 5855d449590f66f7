package healthcheck

import (
	"net/http"
	"time"

	"pointsman/internal/failover"
)

// answered tells, in the next message on a line, how long the answer to an
// earlier one took, so that the receiver knows how long that one can have been
// on its way. Values that nobody can mean are passed over and refuse nothing:
// what a clock shows must not cost a vote.
type answered struct {
	Seq  uint64        `json:"seq"`
	Took time.Duration `json:"took_ns"` // from the send time to the answer, on the vantage's monotonic clock

	boot string // that Seq counts in
}

// answeredKey is the key of a message that controllers of earlier versions
// refuse by its name.
const answeredKey = `"answered"`

// ClockReading is how far the wall clock of a vantage was ahead of ours, below
// 0: behind. It is for people: no vote and no decision is dated by it. Which of
// the two clocks is wrong it cannot say.
type ClockReading struct {
	At     time.Time     // of the message that it was read from, on our clock
	Offset time.Duration // the middle of what is possible
	Within time.Duration // the truth is at most so far from Offset
}

// Least is how far the clocks are apart at the least.
func (c ClockReading) Least() time.Duration { return max(c.Offset.Abs()-c.Within, 0) }

// arrival is a message whose time on the way is not known yet.
type arrival struct {
	seq    uint64
	at     time.Time
	behind time.Duration // its send time by the vantage's clock, less its arrival by ours
}

// maxArrivals is how many are remembered. A line has one POST under way; those
// that it gave up were never answered.
const maxArrivals = 8

// clockStep is the resolution of the send time.
const clockStep = time.Millisecond

// read takes a message that was admitted. A reading comes with the next one:
// the offset of the clocks is what the send time was above the arrival, plus
// the time on the way, which is between nothing and the whole round trip.
func (p *peer) read(m *message, received time.Time) (c ClockReading, ok bool) {
	if a := m.Answered; a != nil && a.Took >= 0 && a.Took <= maxAge {
		for i := range p.arrivals {
			if x := &p.arrivals[i]; x.seq == a.Seq && x.seq != 0 {
				half := (a.Took + clockStep) / 2
				c, ok = ClockReading{At: x.at, Offset: x.behind + half, Within: half}, true
				p.clock = c
				x.seq = 0 // counts once
			}
		}
	}
	p.arrivals[p.arrived%maxArrivals] = arrival{m.Seq, received, time.UnixMilli(m.SentMS).Sub(received)}
	p.arrived++
	return c, ok
}

// Clocks says of each configured vantage how far its clock was off when that
// was read last. One of an earlier version never says enough, and has a zero
// time.
func (r *Receiver) Clocks() map[failover.VantageName]ClockReading {
	r.rules.RLock()
	defer r.rules.RUnlock()
	out := make(map[failover.VantageName]ClockReading, len(r.peers))
	for v, p := range r.peers {
		p.mu.Lock()
		out[v] = p.clock
		p.mu.Unlock()
	}
	return out
}

// time notes how long the answer took. A machine that slept meanwhile, or whose
// clock was set, does not know.
func (l *line) time(resp *http.Response, m *message, sent time.Time) {
	now := time.Now()
	if resp.StatusCode/100 == 2 && slept(look(sent), look(now)) == 0 {
		l.answered = &answered{Seq: m.Seq, Took: max(now.Sub(sent), 0), boot: m.Boot}
	}
}
