package healthcheck

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// peer is what a receiver knows of one vantage: enough to tell its next
// message from an old or a held-back one.
type peer struct {
	mu      sync.Mutex
	boot    string
	seq     uint64
	sentMS  int64    // of the newest message
	retired []string // boots that were replaced, oldest first

	// offset is the least distance ever seen between our monotonic clock and
	// the vantage's, as of offsetAt: the distance of an unhindered message.
	offset   time.Duration
	offsetAt time.Time
	epoch    time.Time // zero of our side of the offset
}

// maxRetired bounds the memory for replaced boots; older ones are refused by
// their send time, which has to grow from one boot to the next.
const maxRetired = 64

// admit takes a message once and in order. A vantage that was started again
// comes with a new boot: it is taken when it was sent after everything that
// we had from it, by the vantage's own clock, so that a captured message of
// an earlier boot cannot pose as a restart.
func (p *peer) admit(m *message, now time.Time) *refusal {
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
	case p.boot != "" && m.SentMS <= p.sentMS:
		return refuse(RefusedReplay, http.StatusConflict, "boot %s was sent before what we have", m.Boot[:8])
	default:
		if p.boot != "" {
			p.retired = append(p.retired, p.boot)
			p.retired = p.retired[max(0, len(p.retired)-maxRetired):]
		}
		p.boot, p.epoch = m.Boot, time.Time{}
	}
	p.seq, p.sentMS = m.Seq, max(p.sentMS, m.SentMS)
	return nil
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
