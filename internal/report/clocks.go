package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"pointsman/internal/failover"
	"pointsman/internal/ledger"
)

// KindClock is the kind of samples that hold a ClockHour.
const KindClock = "clock"

// ClockLimit is how far a vantage's clock may be off, beyond what the way of its
// messages leaves open, without a warning. A host that is kept by NTP stays
// within some tens of milliseconds, also over the Internet; half a second says
// that nothing keeps it. No decision hangs on it.
const ClockLimit = 500 * time.Millisecond

// ClockAt is one reading of a vantage's clock against the controller's. Which
// of the two is wrong it does not say.
type ClockAt struct {
	At     time.Time     `json:"at"`
	Offset time.Duration `json:"offset_ns"` // above 0: it is ahead
	Within time.Duration `json:"within_ns"` // the truth is at most so far from it
}

// Least is how far the clocks are apart at the least.
func (c ClockAt) Least() time.Duration { return max(c.Offset.Abs()-c.Within, 0) }

// Off says that it wants a warning.
func (c ClockAt) Off() bool { return c.Least() > ClockLimit }

// String says it in words.
func (c ClockAt) String() string {
	if c.Least() == 0 {
		return "right, to within " + span(c.Offset.Abs()+c.Within)
	}
	way := "ahead"
	if c.Offset < 0 {
		way = "behind"
	}
	return fmt.Sprintf("%s %s, to within %s", span(c.Offset.Abs()), way, span(c.Within))
}

// ClockHour is what one controller read of one vantage's clock in one hour.
type ClockHour struct {
	Vantage failover.VantageName `json:"vantage"`
	Hour    time.Time            `json:"hour"` // its beginning
	Latest  ClockAt              `json:"latest"`
	Worst   ClockAt              `json:"worst"` // the one furthest off for certain
}

// ClockNow is what is known of a vantage's clock at the moment.
type ClockNow struct {
	Vantage failover.VantageName
	Now     *ClockAt // nil: not known
	Why     string   // it is not
}

// Clock is how far the clock of a vantage elsewhere is off.
type Clock struct {
	Vantage failover.VantageName `json:"vantage"`
	Now     *ClockAt             `json:"now,omitempty"` // missing: not known
	Why     string               `json:"unknown,omitempty"`
	Worst   *ClockAt             `json:"worst,omitempty"` // in the window; missing: nothing was recorded
	Known   int                  `json:"hours_known"`     // hours of the window with a reading
	Hours   int                  `json:"hours"`           // that the window touches
}

// warning is what to say of it, empty: nothing.
func (c *Clock) warning(stamp func(time.Time) string) string {
	switch {
	case c.Now != nil && c.Now.Off():
		return fmt.Sprintf("the clock of vantage %s is %s", c.Vantage, c.Now)
	case c.Worst != nil && c.Worst.Off():
		return fmt.Sprintf("the clock of vantage %s was %s, at %s", c.Vantage, c.Worst, stamp(c.Worst.At))
	}
	return ""
}

// worseClock keeps the reading that is furthest off for certain, the older of two.
func worseClock(a, b *ClockAt) *ClockAt {
	if a == nil || b.Least() > a.Least() || b.Least() == a.Least() && b.At.Before(a.At) {
		return b
	}
	return a
}

const (
	maxClocks     = 256       // vantages: a damaged history cannot fill the memory
	maxClockHours = 24 * 1000 // of one
	maxClockOff   = 10 * 365 * 24 * time.Hour
)

// clockPast is what was recorded of one clock.
type clockPast struct {
	worst *ClockAt
	hours map[int64]bool
}

// clock takes a sample of the window.
func (p *past) clock(s *ledger.Sample) bool {
	var h ClockHour
	if json.Unmarshal(s.Data, &h) != nil || h.Vantage == "" || len(h.Vantage) > 64 || h.Hour.IsZero() ||
		h.Worst.Within < 0 || h.Worst.Within > maxClockOff || h.Worst.Offset < -maxClockOff || h.Worst.Offset > maxClockOff {
		return false
	}
	c := p.clocks[h.Vantage]
	if c == nil {
		if len(p.clocks) >= maxClocks {
			return false
		}
		if p.clocks == nil {
			p.clocks = map[failover.VantageName]*clockPast{}
		}
		c = &clockPast{hours: map[int64]bool{}}
		p.clocks[h.Vantage] = c
	}
	if len(c.hours) < maxClockHours {
		c.hours[h.Hour.Unix()/3600] = true
	}
	h.Worst.At = h.Worst.At.UTC()
	c.worst = worseClock(c.worst, &h.Worst)
	return true
}

// Clocks takes what is known now of the vantages elsewhere, each once. Without
// it what the clocks show is not known.
func (b *Builder) Clocks(now []ClockNow) {
	b.clocked = true
	hours := int(b.head.To.Add(-1).Unix()/3600-b.head.From.Unix()/3600) + 1
	for _, n := range now {
		c := Clock{Vantage: n.Vantage, Why: plain(n.Why), Hours: max(hours, 0)}
		if n.Now != nil {
			x := *n.Now
			x.At = x.At.UTC()
			c.Now, c.Why = &x, ""
		}
		if was := b.past.clocks[n.Vantage]; was != nil {
			c.Worst, c.Known = was.worst, min(len(was.hours), c.Hours)
		}
		b.out.Vantages = append(b.out.Vantages, c)
	}
	slices.SortFunc(b.out.Vantages, func(x, y Clock) int { return cmp.Compare(x.Vantage, y.Vantage) })
}

// ClockWarnings are those of all vantages.
func (r *Report) ClockWarnings() []string {
	var out []string
	for i := range r.Vantages {
		if w := r.Vantages[i].warning(r.stamp); w != "" {
			out = append(out, plain(w))
		}
	}
	return out
}

// clocksNotKnown says what is missing of them.
func (b *Builder) clocksNotKnown() []string {
	if !b.clocked {
		return []string{"how far the clocks of the vantages are off: nobody was asked"}
	}
	var out []string
	for _, c := range b.out.Vantages {
		if c.Now == nil && c.Known == 0 {
			out = append(out, plain(fmt.Sprintf("how far the clock of vantage %s is off, now and in the window: %s", c.Vantage, c.Why)))
			continue
		}
		if c.Now == nil {
			out = append(out, plain(fmt.Sprintf("how far the clock of vantage %s is off now: %s", c.Vantage, c.Why)))
		}
		if c.Known < c.Hours {
			out = append(out, plain(fmt.Sprintf("how far the clock of vantage %s was off in %d of the %d hours of the window", c.Vantage, c.Hours-c.Known, c.Hours)))
		}
	}
	if more := len(out) - maxLines; more > 0 {
		out = append(out[:maxLines], fmt.Sprintf("the same of clocks of other vantages, %d lines", more))
	}
	return out
}

// now and worst are cells of a table.
func (c *Clock) now() string {
	if c.Now == nil {
		return "unknown: " + c.Why
	}
	return c.Now.String()
}

func (c *Clock) worstSeen(stamp func(time.Time) string) string {
	if c.Worst == nil {
		return "unknown: nothing was recorded"
	}
	return fmt.Sprintf("%s, at %s", c.Worst, stamp(c.Worst.At))
}

func (c *Clock) known() string { return fmt.Sprintf("%d of %d", c.Known, c.Hours) }

func (m *markdown) clocks() {
	if len(m.r.Vantages) == 0 {
		return
	}
	m.line("## Clocks of vantages\n")
	var rows [][]string
	for i := range m.r.Vantages[:min(len(m.r.Vantages), maxShown)] {
		c := &m.r.Vantages[i]
		rows = append(rows, []string{md(string(c.Vantage)), md(c.now()), md(c.worstSeen(m.r.stamp)), c.known()})
	}
	m.table([]string{"vantage", "against the controller's clock", "at worst in the window", "hours known"}, rows)
}
