package doctor

import (
	"fmt"
	"time"
)

// ClockFacts is one comparison of our clock with another.
type ClockFacts struct {
	With   string        // whose it is
	How    string        // what was compared, such as the Date header
	Offset time.Duration // theirs minus ours, at the middle of the exchange
	Unsure time.Duration // half the round trip, and what the other one rounds off
	Same   bool          // it is the clock of this very machine
	Err    string        // it could not be read
	Absent string        // there is none to be read: why
	// Limit is beyond which offset requests are refused; 0 is 300 s, that of
	// signed updates. LimitOf says by whose rule.
	Limit   time.Duration
	LimitOf string
}

// Bounds of a clock. A signature of a dynamic update is refused beyond 300 s
// (RFC 8945 section 10), which half of that should never come near; below
// clockWarn nothing here suffers, since votes carry ages and the token counts.
const (
	clockWarn  = 2 * time.Second
	clockLimit = 300 * time.Second
)

// Compared makes the facts of one exchange: sent and received are ours, theirs
// was read in between and is rounded down to coarse.
func Compared(with, how string, sent, received, theirs time.Time, coarse time.Duration) ClockFacts {
	middle := sent.Add(received.Sub(sent) / 2)
	return ClockFacts{
		With: with, How: how,
		// Rounded down, it stands half of coarse below what was meant.
		Offset: theirs.Add(coarse / 2).Sub(middle),
		Unsure: received.Sub(sent)/2 + coarse/2,
	}
}

// JudgeClock says whether a clock is near enough to ours.
func JudgeClock(id string, c ClockFacts) Finding {
	limit, of := clockLimit, "signed updates are refused beyond 300 s (RFC 8945 section 10)"
	if c.Limit > 0 {
		limit, of = c.Limit, c.LimitOf
	}
	off := c.Offset.Abs() - c.Unsure // what is certain of it
	evidence := fmt.Sprintf("%s %s (by %s, ± %s)", roughly(c.Offset.Abs()), side(c.Offset), c.How, roughly(c.Unsure))
	if off <= 0 {
		evidence = fmt.Sprintf("no difference is to be seen (by %s, ± %s)", c.How, roughly(c.Unsure))
	}
	switch {
	case c.Absent != "":
		return Skip(id, c.With, "%s", c.Absent)
	case c.Err != "":
		return Skip(id, c.With, "not compared: %s", c.Err)
	case off > limit/2:
		return bad(Fail, id, c.With, "set both clocks by NTP (chronyc tracking, timedatectl): "+of, "%s", evidence)
	case off > clockWarn:
		return bad(Warn, id, c.With, "set both clocks by NTP (chronyc tracking, timedatectl): times in audit and history are wrong by that much", "%s", evidence)
	case c.Same:
		return okay(id, c.With, "it is the clock of this machine; %s", evidence)
	default:
		return okay(id, c.With, "%s", evidence)
	}
}

func side(d time.Duration) string {
	if d < 0 {
		return "behind this host"
	}
	return "ahead of this host"
}

// roughly rounds a span for people.
func roughly(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}
