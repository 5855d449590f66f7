package healthcheck

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// peer is what a receiver knows of one vantage: enough to tell its next
// message from an old one, a held-back one and one that was meant for another
// receiver.
type peer struct {
	mu   sync.Mutex
	draw func() string // a new challenge

	// challenge is what the next message has to bear. It is our own random
	// number, so no other receiver and no earlier process of ours ever asked
	// for it, and it changes with each boot of the vantage that we take.
	challenge string
	boot      string
	seq       uint64
	retired   []string // boots that were replaced, oldest first
	config    VantageConfig

	// clock is the newest reading; arrivals are what the next may be of.
	clock    ClockReading
	arrivals [maxArrivals]arrival
	arrived  int

	// offset is the least distance ever seen between our monotonic clock and
	// the vantage's, as of offsetAt: the distance of an unhindered message.
	offset   time.Duration
	offsetAt time.Time
	epoch    time.Time // zero of our side of the offset
}

// maxRetired bounds the memory for replaced boots. It serves to name the fault
// when two vantages run under one name; captured messages of any older boot
// bear a challenge that is over.
const maxRetired = 64

// admit takes a message once and in order. A vantage that was started again
// comes with a new boot: it is taken when it answers the present challenge,
// which then changes. So whatever was signed before the newest boot was taken
// is worth nothing any more, and the worst that a replay can do is to make the
// vantage sign once more.
func (p *peer) admit(m *message, now time.Time) *refusal {
	if m.Challenge != p.challenge {
		return refuse(RefusedChallenge, http.StatusConflict, "the message does not bear the challenge of this receiver (first contact, or it was meant for another)")
	}
	sent := time.UnixMilli(m.SentMS)
	if d := now.Sub(sent); d > ClockBound || d < -ClockBound {
		return refuse(RefusedClock, http.StatusConflict, "sent at %s by the vantage's clock, %s from ours; %s is the bound (is its clock right?)",
			sent.UTC().Format(time.RFC3339), d.Round(time.Second), ClockBound)
	}
	switch {
	case m.Boot == p.boot && m.Seq <= p.seq:
		return refuse(RefusedReplay, http.StatusConflict, "sequence %d after %d", m.Seq, p.seq)
	case m.Boot == p.boot:
	case slices.Contains(p.retired, m.Boot):
		return refuse(RefusedReplay, http.StatusConflict, "boot %s was replaced by a newer one (do two vantages run under one name?)", m.Boot[:8])
	default:
		if p.boot != "" {
			p.retired = append(p.retired, p.boot)
			p.retired = p.retired[max(0, len(p.retired)-maxRetired):]
		}
		p.boot, p.epoch, p.challenge = m.Boot, time.Time{}, p.draw()
		p.arrivals = [maxArrivals]arrival{} // their numbers begin anew
	}
	p.seq = m.Seq
	return nil
}

// asks is the challenge that the next message has to bear.
func (p *peer) asks() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.challenge
}

// drift is how fast two good clocks may part, per unit of time: NTP slews
// either by at most 500 ppm (RFC 5905 section 11.3).
const drift = 1e-3

// held is how much longer than the quickest message of this boot the present
// one was on its way. No clock is compared with another: both sides count
// time since a start of their own, and only changes of the distance count.
func (p *peer) held(m *message, now time.Time) time.Duration {
	if p.epoch.IsZero() {
		p.epoch, p.offsetAt = now, now
		p.offset = -m.Uptime
		return 0
	}
	distance := now.Sub(p.epoch) - m.Uptime
	p.offset += time.Duration(float64(now.Sub(p.offsetAt)) * drift)
	p.offsetAt = now
	if distance <= p.offset {
		p.offset = distance
		return 0
	}
	return distance - p.offset
}
