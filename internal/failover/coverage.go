package failover

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// BeatEvery is how often a controller notes that it still runs and records.
const BeatEvery = 30 * time.Second

// Recording is one life of a controller, as its history has it: from when until
// when it looked. It is what tells calm from nobody looking.
type Recording struct {
	Controller string    `json:"controller"`
	From       time.Time `json:"from"`
	Until      time.Time `json:"until"`             // the newest beat
	Ended      bool      `json:"ended,omitempty"`   // in good order
	Dropped    uint64    `json:"dropped,omitempty"` // lines that the history did not take in this life
	Reach      time.Time `json:"reach,omitzero"`    // what is older than this was pushed out in part
}

// Silence is a time in which a vantage said nothing, of some instances or all.
type Silence struct {
	Vantage   VantageName    `json:"vantage"`
	From      time.Time      `json:"from"`
	To        time.Time      `json:"to,omitzero"`     // zero: it lasts
	Instances int            `json:"instances"`       // of how many it was silent, at most
	Names     []InstanceName `json:"names,omitempty"` // of them, the first few
}

// concerns says whether the silence was about one of the instances; none named
// are all. Of many silent ones not every name is kept: it may have been any.
func (s *Silence) concerns(is []InstanceName) bool {
	return len(is) == 0 || len(s.Names) < s.Instances || slices.ContainsFunc(is, func(i InstanceName) bool { return slices.Contains(s.Names, i) })
}

// Uncovered lists what the data of a stretch of time do not cover, oldest first:
// what recordings leave open, what was dropped, and silent vantages.
func Uncovered(rs []Recording, silent []Silence, is []InstanceName, since, now time.Time) []Gap {
	all := slices.Clone(rs)
	rs = Credible(rs, now)
	slices.SortFunc(rs, func(a, b Recording) int { return a.From.Compare(b.From) })
	var out []Gap
	add := func(g Gap) {
		if g.From.Before(since) {
			g.From = since
		}
		if g.To.IsZero() || g.To.After(g.From) {
			out = append(out, g)
		}
	}
	if len(rs) == 0 {
		return []Gap{{From: since, Why: "nothing says that a controller recorded"}}
	}
	if rs[0].From.After(since) {
		add(Gap{From: since, To: rs[0].From, Why: "nothing was recorded before"})
	}
	seen, ended := rs[0].Until, rs[0].Ended
	for i, r := range rs {
		if i > 0 && r.From.After(seen) {
			why := "the controller did not run"
			if !ended { // its newest beat is all that is known of its end
				why += fmt.Sprintf(" (it died at most %s into this time)", BeatEvery)
			}
			add(Gap{From: seen, To: r.From, Why: why})
		}
		if i > 0 && r.Until.After(seen) {
			seen, ended = r.Until, r.Ended
		}
		if r.Dropped > 0 && r.Until.After(since) {
			add(Gap{From: r.From, To: r.Until, Why: fmt.Sprintf("%d lines were dropped somewhere in this time: the disk was too slow, or refused them", r.Dropped)})
		}
		if r.Reach.After(since) {
			add(Gap{From: since, To: r.Reach, Why: "older lines were pushed out by newer ones"})
		}
	}
	for _, r := range all {
		if !credible(&r, now) {
			add(Gap{From: r.From, To: now, Why: "what was recorded is said to have ended in the future: the clock was set back, or the line is damaged"})
		}
	}
	if now.Sub(seen) > 3*BeatEvery {
		add(Gap{From: seen, Why: "the controller has not recorded since"})
	}
	for _, s := range silent {
		if s.concerns(is) && (s.To.IsZero() || s.To.After(since)) {
			add(Gap{From: s.From, To: s.To, Why: fmt.Sprintf("vantage %s was silent", s.Vantage), Vantage: s.Vantage})
		}
	}
	slices.SortStableFunc(out, func(a, b Gap) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Why, b.Why))
	})
	return out
}

// Credible leaves out lives that are said to have been seen in the future, some
// beats and with them the clocks of two machines aside. One of them would cover
// all times for ever.
func Credible(rs []Recording, now time.Time) []Recording {
	return slices.DeleteFunc(slices.Clone(rs), func(r Recording) bool { return !credible(&r, now) })
}

func credible(r *Recording, now time.Time) bool { return !r.Until.After(now.Add(3 * BeatEvery)) }

// Silent lists the vantages of the policy that have said nothing for longer than
// a minute, and since when; one that has not reported yet counts from since.
func (s *State) Silent(p *Policy, since, now time.Time) map[VantageName]time.Time {
	var out map[VantageName]time.Time
	for _, v := range p.Vantages {
		last := since
		if r, ok := s.sights[v.Name]; ok {
			last = r.at
		}
		if now.Sub(last) > max(time.Minute, p.Stale()) {
			set(&out, v.Name, last)
		}
	}
	return out
}
