package failover

import (
	"slices"
	"time"
)

// MaxFreeze is the longest single stretch of a freeze that comes by a schedule:
// a whole quarter.
const MaxFreeze = 100 * 24 * time.Hour

// frozen says whether a window of the policy's freeze holds the moment. It is
// shown as a stop, although no ledger has it: the config is its owner.
func (p *Policy) frozen(now time.Time) (Stop, bool) {
	var st Stop
	on := false
	for i := range p.Freeze {
		w := &p.Freeze[i]
		from, to, ok := w.At(now)
		if !ok || on && !to.After(st.Until) {
			continue
		}
		st, on = Stop{Kind: StopFreeze, By: "config", Why: orNoReason(w.Reason), Since: from, Until: to}, true
	}
	return st, on
}

// stops are the standing stops with those that come from the config. The slice
// of the record is never written to.
func (s *State) stops(p *Policy, now time.Time) []Stop {
	st, on := p.frozen(now)
	if !on {
		return s.rec.Stops
	}
	return append(slices.Clip(s.rec.Stops), st)
}
